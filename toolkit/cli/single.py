"""Builds the repository of one model that is named by its source, and prints what it chose."""

from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cli.output import say
from toolkit.cli.progress import console_progress

if TYPE_CHECKING:
    from toolkit.single.entry import Single


def plan_single(text: str, context_length: int | None = None) -> "Single":
    """The model that a text names, as it will be served. Raises SourceError if it cannot be."""
    from toolkit.single.entry import plan
    from toolkit.single.source import read_source

    source = read_source(text)
    with console_progress() as progress:
        return plan(text, source, progress, context_length=context_length)


def build_single(single: "Single") -> Path:
    """Builds its repository."""
    from toolkit.single.entry import build

    context = f", context {single.context_length}" if single.context_length else ""
    # shown, because a reply or a text that is cut at fewer tokens would surprise
    longest = single.longest_context or 0
    if longest > (single.context_length or longest):
        context += f" of {longest} (--context-length sets it)"
    say(f"{single.name}: {single.kind}{context}")
    with console_progress() as progress:
        return build(single, progress)
