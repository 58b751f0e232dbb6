"""Metrics of other servers in Prometheus's text format, marked with the upstream they come from.

Lines are copied: the library's writer would rename counters without `_total`, as Triton's are. A
line that is not valid is left out, since one of them would make the whole text unreadable.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

PREFIXES = ("nv_", "vllm:", "sglang:", "tgi_", "llamacpp:", "ollama_")
"""Of the servers that are upstreams. Others, such as `process_`, are the gateway's own names."""
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\n"])*"'
_SAMPLE = re.compile(
    rf"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{{((?:{_LABEL}(?:,{_LABEL})*)?),?\}})?[ \t]+"
    r"([+-]?(?:[0-9.]+(?:[eE][+-]?[0-9]+)?|Inf|NaN))(?:[ \t]+-?[0-9]+)?[ \t]*"
)
_OWN_LABEL = re.compile(r'(^|,)(upstream=")')
_TYPES = frozenset({"counter", "gauge", "histogram", "summary", "untyped"})
_SUFFIXES = ("_bucket", "_count", "_sum", "_total", "_created")
_MAX_TEXT = 1000


@dataclass(slots=True)
class Family:
    """The samples of one metric; `lines` are ready to be written."""

    name: str
    kind: str = "untyped"
    meaning: str = ""
    lines: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Page:
    """The metrics of one upstream, as it reported them."""

    families: dict[str, Family]
    dropped: int


def read_page(text: str, upstream: str, most: int) -> Page:
    """Reads at most `most` samples; `dropped` counts those beyond it and the invalid ones."""
    families: dict[str, Family] = {}
    left, dropped = most, 0
    # not `splitlines`: a label may contain other line ends, such as U+2028
    for line in text.split("\n"):
        if line.startswith("#"):
            _describe(families, line)
        elif line.startswith(PREFIXES):
            match = _SAMPLE.fullmatch(line)
            if match is None or left <= 0:
                dropped += 1
                continue
            left -= 1
            name, labels, value = match.groups()
            # as Prometheus renames a label that it sets itself
            labels = _OWN_LABEL.sub(r"\1exported_\2", labels or "")
            own = f'upstream="{upstream}"' + (f",{labels}" if labels else "")
            _family_of(families, name).lines.append(f"{name}{{{own}}} {value}")
    return Page({name: one for name, one in families.items() if one.lines}, dropped)


def _describe(families: dict[str, Family], line: str) -> None:
    parts = line.split(None, 3)
    if len(parts) < 4 or parts[1] not in ("HELP", "TYPE") or not parts[2].startswith(PREFIXES):
        return
    family = families.setdefault(parts[2], Family(parts[2]))
    if parts[1] == "HELP":
        family.meaning = parts[3][:_MAX_TEXT]
    elif parts[3].strip() in _TYPES:
        family.kind = parts[3].strip()


def _family_of(families: dict[str, Family], name: str) -> Family:
    if name in families:
        return families[name]
    for suffix in _SUFFIXES:
        if name.endswith(suffix) and (family := families.get(name.removesuffix(suffix))):
            return family
    return families.setdefault(name, Family(name))


def join(pages: Iterable[Page]) -> bytes:
    """One text, in which each metric appears once with the samples of all upstreams."""
    joined: dict[str, Family] = {}
    for page in pages:
        for name, family in page.families.items():
            into = joined.setdefault(name, Family(name, family.kind, family.meaning))
            into.lines.extend(family.lines)
    parts = []
    for family in joined.values():
        if family.meaning:
            parts.append(f"# HELP {family.name} {family.meaning}")
        parts += [f"# TYPE {family.name} {family.kind}", *family.lines]
    return "".join(f"{part}\n" for part in parts).encode()
