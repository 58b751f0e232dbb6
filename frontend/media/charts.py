"""Charts as SVG, drawn by pygal. Pure.

A picture has classes instead of colours, so that the stylesheet of a page decides on them, and no
style or script, which the policy of pages refuses. What a mark stands for is its `<title>`.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_HEIGHT = 200
_MAX_BARS = 800
"""pygal needs 0.15 ms for a bar: with more of them, lines are drawn instead."""
_FEWEST = 14
"""Fewer bars would be as wide as a hand."""


@dataclass(frozen=True, slots=True)
class Series:
    """A name, and a value for each label."""

    name: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart. `title` is read by screen readers; `width` is in pixels of a page."""

    title: str
    unit: str
    labels: Sequence[str]
    series: Sequence[Series]
    kind: str = "bars"
    width: int = 640


def draw(what: Drawing) -> bytes:
    """The chart: bars on each other, areas on each other where there are many, or lines."""
    pygal, etree = _library()
    marks = sum(1 for one in what.series for value in one.values if value)
    kinds = {"bars": pygal.StackedBar, "lines": pygal.Line, "areas": pygal.StackedLine}
    kind = "areas" if what.kind == "bars" and marks > _MAX_BARS else what.kind
    # a few bars stay narrow; lines use the whole width
    empty = max(0, _FEWEST - len(what.labels)) if kind == "bars" else 0
    labels = [*what.labels, *[""] * empty]
    chart = kinds[kind](**_options(what, len(labels)), x_labels=labels, fill=kind == "areas")
    for one in what.series:
        chart.add(one.name, list(_marks(what, one)) if kind == "bars" else list(one.values))
    root = _plain(chart.render_tree())
    root.attrib.update({"class": "chart", "role": "img", "aria-label": what.title})
    text: bytes = etree.tostring(root, encoding="utf-8")
    return text


def _library() -> tuple[Any, Any]:
    # only in the worker that draws
    import pygal  # noqa: PLC0415
    from pygal.etree import etree  # noqa: PLC0415

    # a finder for maps of other packages, of a kind that Python 3.12 removed and 3.11 warns about
    sys.meta_path[:] = [one for one in sys.meta_path if type(one).__module__ != "pygal"]
    return pygal, etree


def short(value: float) -> str:
    """A number as an axis shows it: 1.5K, 20M."""
    for bound, letter in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if abs(value) >= bound:
            return f"{value / bound:.4g}{letter}"
    return f"{value:.4g}"


def _options(what: Drawing, places: int) -> dict[str, Any]:
    return {
        "width": what.width,
        "height": _HEIGHT,
        "margin": 6,
        "show_legend": False,
        "show_dots": False,
        # 90 pixels hold a date with an hour
        "x_labels_major_every": max(1, -(-places * 90 // what.width)),
        "show_minor_x_labels": False,
        "truncate_label": -1,
        "spacing": 6,
        "min_scale": 2,
        "max_scale": 5,
        "include_x_axis": True,
        "value_formatter": short,
        "css": (),
        "js": (),
        "no_prefix": True,
    }


def _marks(what: Drawing, one: Series) -> Any:
    for label, value in zip(what.labels, one.values, strict=True):
        said = f"{label}, {one.name}: {value:,.10g} {what.unit}"
        # nothing is not a bar of no height
        yield {"value": value, "label": said} if value else None


def _plain(root: Any) -> Any:
    """Only the plot: without pygal's styles, scripts, comments and tooltips."""
    plot = next(one for one in root.iter("g") if one.get("class") == "plot")
    for old in list(root):
        root.remove(old)
    root.append(plot)
    for parent in list(plot.iter()):
        for child in list(parent):
            if child.tag == "desc" and child.get("class") == "label":
                child.tag = "title"
                child.attrib.clear()
            elif child.tag in ("desc", "title") or _is_nothing(child):
                parent.remove(child)
            else:
                child.attrib.pop("style", None)
    return root


def _is_nothing(one: Any) -> bool:
    """Whether this is a bar for a value that does not exist."""
    return bool(one.get("class") == "bar" and one.find("desc[@class='label']") is None)
