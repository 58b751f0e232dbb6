"""Writes a quality report: `report.json` for programs, `report.md` and an image for people.

Everything shown is in the JSON file. It does not measure anything.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 760, 300
_BEFORE, _AFTER, _INK = "#7a8ba3", "#2f6fb0", "#333"


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """Writes the three files into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=2, ensure_ascii=False)
    (folder / "report.json").write_text(f"{text}\n", encoding="utf-8")
    (folder / "picture.svg").write_text(_chart(report), encoding="utf-8")
    (folder / "report.md").write_text(_markdown(report), encoding="utf-8")


def read_report(folder: Path) -> dict[str, Any] | None:
    """The report beside quantized weights in the cache; None for weights that are not quantized."""
    file = folder / "quality" / "report.json"
    if not file.exists():
        return None
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return report


def summary_line(report: dict[str, Any]) -> str:
    """Method, size and what quality was lost, in one line."""
    size, perplexity = report["size_bytes"], report["perplexity"]
    return (
        f"{report['about']['method'].partition(':')[0]}, {_bytes(size['before'])} → "
        f"{_bytes(size['after'])}, perplexity {_number(perplexity['before'])} → "
        f"{_number(perplexity['after'])} (× {perplexity['ratio']:.3f}), KL divergence "
        f"{_number(report['kl_nats']['mean'])} nats"
    )


def _markdown(report: dict[str, Any]) -> str:
    about = report["about"]
    lines = [f"# {about['model']}: {about['method']}", "", _verdict(report), ""]
    lines += [
        "![quality and size before and after](picture.svg)",
        "",
        "| | before | after | |",
        "|---|---|---|---|",
    ]
    lines += [f"| {' | '.join(row)} |" for row in rows(report)]
    lines += ["", "## Settings", "", "| | |", "|---|---|"]
    lines += [f"| {key.replace('_', ' ')} | {_shown(value)} |" for key, value in about.items()]
    if notes := report.get("notes"):
        lines += ["", "## Notes", "", *(f"- {note}" for note in notes)]
    return "\n".join(lines) + "\n"


def _verdict(report: dict[str, Any]) -> str:
    broken = report["failures"]
    return f"**Refused:** {'; '.join(broken)}." if broken else "Within all limits."


def rows(report: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """The rows of the report's table: quantity, before, after, comparison."""
    found = [_row("size on disk", report["size_bytes"], _bytes, "ratio")]
    for key, title in (("perplexity", "perplexity"), ("sentences_per_s", "sentences/s")):
        if key in report:
            found.append(_row(title, report[key], _number, "ratio"))
    for key, title in _SINGLE.items():
        if key in report:
            found.append((title, "", "", _spread(report[key])))
    if engine := report.get("engine"):
        found += _engine_rows(engine)
    return found


_SINGLE = {
    "kl_nats": "KL divergence of next tokens (nats)",
    "top1_agreement": "same most likely token",
    "cosine": "cosine to the source's vectors",
    "rank_correlation": "rank correlation of pairs",
    "neighbours": "same nearest neighbours",
    "psnr_db": "PSNR of images at equal seeds (dB)",
}


def _engine_rows(engine: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    before, after = engine["models"]["before"], engine["models"]["after"]
    name = engine["engine"]
    found = [
        (
            f"perplexity in {name}",
            _number(before["perplexity"]),
            _number(after["perplexity"]),
            f"× {after['perplexity'] / before['perplexity']:.3f}",
        ),
        ("memory of the engine", _bytes(before["memory_bytes"]), _bytes(after["memory_bytes"]), ""),
    ]
    for streams, ratio in engine["speed_ratio"].items():
        found.append(
            (
                f"tokens/s, {streams} at the same time",
                _number(before["tokens_per_s"][streams]),
                _number(after["tokens_per_s"][streams]),
                f"× {ratio:.2f}",
            )
        )
    return found


def _row(title: str, values: dict[str, Any], show: Any, key: str) -> tuple[str, str, str, str]:
    return title, show(values["before"]), show(values["after"]), f"× {values[key]:.3f}"


def _spread(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_number(part)}" for key, part in value.items())
    return _number(value)


def _number(value: float) -> str:
    return f"{value:.4g}"


def _bytes(value: float) -> str:
    return f"{value / 1e6:.1f} MB"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
    # either would end the table's cell
    return text.replace("|", "\\|").replace("\n", " ")


def _chart(report: dict[str, Any]) -> str:
    """Bars of what became smaller or worse on the left, the error along the layers on the right."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'font-family="sans-serif" font-size="12" fill="{_INK}">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(20, 24, f"{report['about']['model']}: {report['about']['method']}", size=15),
        *_bars(report),
    ]
    if curve := report.get("layer_error"):
        parts += _curve(curve, "error after each layer", 400)
    elif values := report.get("distribution"):
        parts += _curve(values["values"], values["title"], 400)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bars(report: dict[str, Any]) -> list[str]:
    """Pairs of bars, each pair on its own scale: after as a share of before."""
    pairs = [("size", report["size_bytes"])]
    pairs += [
        (title, report[key])
        for key, title in (("perplexity", "perplexity"), ("sentences_per_s", "sentences/s"))
        if key in report
    ]
    if engine := report.get("engine"):
        models = engine["models"]
        for streams in engine["speed_ratio"]:
            speeds = {when: models[when]["tokens_per_s"][streams] for when in ("before", "after")}
            pairs.append((f"tokens/s, {streams} at the same time", speeds))
    found = []
    for place, (title, values) in enumerate(pairs):
        y = 52 + place * 46
        most = max(values["before"], values["after"]) or 1
        found.append(_text(20, y, title))
        for offset, when, colour in ((6, "before", _BEFORE), (20, "after", _AFTER)):
            length = 250 * values[when] / most
            found.append(
                f'<rect x="20" y="{y + offset}" width="{length:.1f}" height="11" fill="{colour}"/>'
            )
            shown = _bytes(values[when]) if title == "size" else _number(values[when])
            found.append(_text(26 + length, y + offset + 10, f"{shown} {when}", size=10))
    return found


def _curve(values: Sequence[float], title: str, left: int) -> list[str]:
    width, top, bottom = _WIDTH - left - 20, 60, _HEIGHT - 40
    # a result without any error has a curve of zeros
    most = max(values) or 1
    points = [
        (left + width * n / max(1, len(values) - 1), bottom - (bottom - top) * value / most)
        for n, value in enumerate(values)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return [
        _text(left, 46, f"{title} (largest {most:.3g})"),
        f'<line x1="{left}" y1="{bottom}" x2="{left + width}" y2="{bottom}" stroke="{_BEFORE}"/>',
        f'<polyline points="{line}" fill="none" stroke="{_AFTER}" stroke-width="2"/>',
        _text(left, bottom + 18, "0"),
        _text(left + width - 20, bottom + 18, str(len(values) - 1)),
    ]


def _text(x: float, y: float, text: str, size: int = 12) -> str:
    # a model's name is its author's, and SVG in a browser would run what it holds
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}">{escape(text)}</text>'
