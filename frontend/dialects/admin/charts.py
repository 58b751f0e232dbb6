"""The body of a chart, which a page sends with numbers from the API."""

from typing import Annotated, Literal

from msgspec import Meta

from frontend.dialects.declare import Body, about

MAX_POINTS = 8000
"""Points of all series together: 0.3 s of a worker."""
Text = Annotated[str, Meta(max_length=200)]
Value = Annotated[int, Meta(ge=0, le=10**15)] | Annotated[float, Meta(ge=0, le=1e15)]


class SeriesBody(Body, kw_only=True):
    """One line, or the bars of one colour."""

    name: Annotated[Text, about("The name of the series.")]
    values: Annotated[list[Value], Meta(max_length=1000), about("A value for each label.")]


class ChartBody(Body, kw_only=True):
    """A chart."""

    title: Annotated[Text, about("The title, which screen readers read out.")]
    unit: Annotated[Annotated[str, Meta(max_length=40)], about("The unit of the values.")]
    kind: Annotated[Literal["bars", "lines"], about("Stacked bars, or lines.")] = "bars"
    width: Annotated[Annotated[int, Meta(ge=200, le=2000)], about("The width in pixels.")] = 640
    labels: Annotated[
        Annotated[list[Text], Meta(min_length=1, max_length=1000)],
        about("The labels below the chart, from left to right."),
    ]
    series: Annotated[
        Annotated[list[SeriesBody], Meta(min_length=1, max_length=8)],
        about("The series, the lowest one first."),
    ]
