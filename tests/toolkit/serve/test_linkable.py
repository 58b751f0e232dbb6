"""A repository that cannot be written is served through links."""

import os
from pathlib import Path

import pytest

from tests.support.repository import write_echo_embedding
from toolkit.runtime.environments import link_environments
from toolkit.runtime.triton import ensure_triton
from toolkit.serve.linkable import linkable
from toolkit.serve.triton import TritonServer
from toolkit.serve.triton_command import TritonOptions


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    root.mkdir()
    write_echo_embedding(root)
    (root / ".environments").mkdir()
    return root


def test_one_that_can_be_written_is_itself(repository: Path) -> None:
    with linkable(repository) as chosen:
        assert chosen == repository


def test_a_read_only_one_loads_through_links(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(repository.rglob("*"))
    allowed = os.access
    monkeypatch.setattr(  # root may write everywhere but on read-only file systems
        os, "access", lambda path, mode: path != repository and allowed(path, mode)
    )
    with linkable(repository) as chosen:
        assert chosen != repository
        assert not (chosen / ".environments").exists()
        link_environments(chosen)
        triton = TritonServer(ensure_triton(), TritonOptions(chosen, tmp_path / "log"))
        triton.start()
        try:
            triton.load(["echo-embedding"])
        finally:
            triton.end()
    assert not chosen.exists()
    assert sorted(repository.rglob("*")) == before
