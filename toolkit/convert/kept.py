"""Converted weights in the toolkit's home, made once: `<home>/weights/<key>/`.

A folder there holds one folder per step and the facts; its key names it, so a newer library or
revision of the conversion makes a new one beside the old.
"""

from pathlib import Path

from toolkit.atomic import ensure
from toolkit.convert.failures import refusing
from toolkit.convert.recipes import key_of, load
from toolkit.facts import write_facts
from toolkit.home import home
from toolkit.kinds.conversion import Conversion
from toolkit.progress import Progress
from toolkit.weights.digest import text_digest
from toolkit.weights.sources import Fetched


def keep_converted(chosen: Conversion, fetched: Fetched, progress: Progress) -> Path:
    """The folder with the result of `chosen` for `fetched`. Raises ConvertError if the weights
    cannot be converted, and MissingExtra without the libraries for it."""
    place = converted_place(chosen, fetched.digest)
    return ensure(place, lambda scratch: _convert(chosen, fetched.path, scratch, progress))


def converted_place(chosen: Conversion, digest: str) -> Path:
    """The cache folder of `chosen` for a source of this digest; it may not exist."""
    return home() / "weights" / text_digest(key_of(chosen, digest))[:32]


def _convert(chosen: Conversion, source: Path, scratch: Path, progress: Progress) -> None:
    # a full disk is not the model's fault
    with refusing(f"{source.name} cannot be converted", through=(OSError,)):
        write_facts(scratch, load(chosen)(source, scratch, progress))
    open_to_all(scratch)


def open_to_all(folder: Path) -> None:
    """Makes files readable for all: safetensors writes mode 0600; Triton may be another user."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o644)
