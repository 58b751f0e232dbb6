"""Downloads several sources at a time."""

from collections.abc import Mapping
from pathlib import Path

from toolkit.errors import SourceError, SpecError, ToolkitError
from toolkit.fields.source import Source
from toolkit.parallel import in_parallel
from toolkit.progress import Progress
from toolkit.weights.fetch import UrlSource, fetch
from toolkit.weights.sources import Fetched

_PARALLEL = 3


def fetch_several(
    sources: Mapping[str, Source | UrlSource],
    folder: Path,
    progress: Progress,
    *,
    allow_pickle: bool,
) -> dict[str, Fetched]:
    """Downloads the sources, and returns them by their names in messages; `folder` is where
    relative paths start.

    Raises SourceError with all failures when the others are done. Its exit code is that of the
    failures, if they have the same one.
    """

    def fetch_one(source: Source | UrlSource) -> Fetched | ToolkitError:
        try:
            return fetch(source, folder, progress, allow_pickle=allow_pickle)
        except SpecError:
            raise
        except ToolkitError as error:
            return error

    fetched = in_parallel(fetch_one, sources.values(), _PARALLEL)
    results = dict(zip(sources, fetched, strict=True))
    failed = {name: each for name, each in results.items() if isinstance(each, ToolkitError)}
    if failed:
        hints = [each.hint for each in failed.values() if each.hint]
        failure = SourceError(
            "\n".join(
                # a message names the file, without the kind of source
                each.message
                if name.removeprefix("gguf:").removeprefix("path:") in each.message
                else f"{name}: {each.message}"
                for name, each in failed.items()
            ),
            hint=hints[0] if hints else None,
        )
        codes = {each.exit_code for each in failed.values()}
        failure.exit_code = codes.pop() if len(codes) == 1 else SourceError.exit_code
        raise failure
    return {name: each for name, each in results.items() if isinstance(each, Fetched)}
