"""A repository into which the links to its environments can be written.

A read-only repository, as containers mount it, is served through a folder with the same directories
and a link for each file. One link to the whole does not work: `..` leads out of a link's target.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.serve.folder import PrivateFolder


@contextmanager
def linkable(repository: Path) -> Iterator[Path]:
    """`repository` itself, or such a folder, which is removed at the end of the block."""
    if os.access(repository, os.W_OK):
        yield repository
        return
    folder = PrivateFolder.claim()
    try:
        links = folder.path / "model_repository"
        shutil.copytree(
            repository, links, copy_function=os.symlink, ignore=shutil.ignore_patterns(".*")
        )
        yield links
    finally:
        folder.remove()
