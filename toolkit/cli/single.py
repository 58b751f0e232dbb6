"""Builds the repository of one model that was named by its source, and says what it chose."""

from pathlib import Path

from toolkit.cli.output import say
from toolkit.cli.progress import console_progress


def build_single(text: str, context_length: int | None = None) -> Path:
    """The repository. Raises SourceError for what cannot be served."""
    from toolkit.single.entry import build, plan
    from toolkit.single.source import read_source

    source = read_source(text)
    with console_progress() as progress:
        single = plan(text, source, progress, context_length=context_length)
        context = f", context {single.context_length}" if single.context_length else ""
        longest = single.longest_context or 0
        if single.kind == "llm" and longest > (single.context_length or longest):
            context += f" of {longest} (--context-length sets it)"
        say(f"{single.name}: {single.kind}{context}")
        return build(single, progress)
