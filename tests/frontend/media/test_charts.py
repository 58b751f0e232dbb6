"""Charts: SVG without styles and scripts, whatever the names in it are."""

import xml.etree.ElementTree as ET

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frontend.dialects.admin.charts import ChartBody, SeriesBody
from frontend.errors import InvalidRequest
from frontend.media.charts import Drawing, Series, draw, short
from frontend.routes.charts import drawing

NAME = "</title><script>alert(1)</script>&\"'"
_SVG = "{http://www.w3.org/2000/svg}"
_ALLOWED = {"svg", "g", "rect", "path", "text", "title"}


def parsed(what: Drawing) -> ET.Element:
    root = ET.fromstring(draw(what))  # noqa: S314 - our own
    for one in root.iter():
        assert one.tag.removeprefix(_SVG) in _ALLOWED
        assert not [name for name in one.attrib if name.startswith("on") or name == "style"]
    return root


@pytest.mark.parametrize("kind", ["bars", "lines"])
def test_names_are_text_and_nothing_has_a_style(kind: str) -> None:
    values = Series(NAME, [0, 5, 1_234_567])
    root = parsed(Drawing(NAME, NAME, [NAME, "b", "c"], [values], kind))
    assert root.get("aria-label") == NAME
    titles = [one.text for one in root.iter(f"{_SVG}title")]
    spelled = [f"b, {NAME}: 5 {NAME}", f"c, {NAME}: 1,234,567 {NAME}"]
    assert titles == (spelled if kind == "bars" else [])


def test_many_bars_become_areas() -> None:
    labels = [str(one) for one in range(744)]
    root = parsed(Drawing("hours", "tokens", labels, [Series("m", [1.0] * 744)] * 6))
    assert sum("line" in one.get("class", "") for one in root.iter(f"{_SVG}path")) >= 6
    assert not [one for one in root.iter(f"{_SVG}g") if one.get("class") == "bar"]


@settings(max_examples=15, deadline=None)
@given(st.text(), st.lists(st.floats(0, 1e15), min_size=1, max_size=4), st.integers(200, 2000))
def test_every_body_that_is_accepted_is_drawn(text: str, values: list[float], width: int) -> None:
    series = [SeriesBody(name=text, values=values)]
    labels = [text] * len(values)
    body = ChartBody(title=text, unit=text, labels=labels, series=series, width=width)
    parsed(drawing(body))


def test_values_without_labels_are_named() -> None:
    body = ChartBody(
        title="", unit="", labels=["a"], series=[SeriesBody(name="a", values=[1.0, 2.0])]
    )
    with pytest.raises(InvalidRequest, match=r"'series\[0\].values' has 2 values for 1 labels"):
        drawing(body)
    whole = msgspec.structs.replace(body, labels=["a"] * 1001)
    many = [SeriesBody(name="a", values=[1.0] * 1001)] * 8
    with pytest.raises(InvalidRequest, match="8,008 values in total; at most 8,000 are allowed"):
        drawing(msgspec.structs.replace(whole, series=many))


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (950, "950"), (1500, "1.5K"), (2e7, "20M"), (3e9, "3B")]
)
def test_an_axis_is_short(value: float, text: str) -> None:
    assert short(value) == text
