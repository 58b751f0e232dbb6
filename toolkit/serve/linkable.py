"""A repository into which the links to its environments can be written.

One that is read-only, as a container mounts it, is served through a folder of its own that has the
same directories and links to all files. They cannot be one link: `..` leads out of a link's target.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.serve.folder import PrivateFolder


@contextmanager
def linkable(repository: Path) -> Iterator[Path]:
    """`repository` itself, or a stand-in that lives as long as the block."""
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
