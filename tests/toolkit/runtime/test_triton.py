"""The server is taken out of its wheel completely or not at all."""

import zipfile
from pathlib import Path

import pytest

from toolkit.errors import SetupError, SourceError
from toolkit.runtime import triton
from toolkit.runtime.triton import ensure_triton
from toolkit.wheels import fetch_wheel

MEMBERS = (
    "pytriton/tritonserver/bin/tritonserver",
    "pytriton/tritonserver/backends/python/libtriton_python.so",
    "pytriton/tritonserver/caches/local/libtritoncache_local.so",
    "pytriton/tritonserver/python_backend_stubs/3.11/triton_python_backend_stub",
    "pytriton/tritonserver/python_backend_stubs/3.8/triton_python_backend_stub",
    "pytriton/__init__.py",
    "nvidia_pytriton.libs/libtritonserver.so",
    "nvidia_pytriton.libs/libnuma-1234.so.1.0.0",
)


@pytest.fixture
def fake_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRITON_TOOLKIT_HOME", str(tmp_path / "home"))
    wheel = tmp_path / "fake.whl"
    _write(wheel, MEMBERS)
    monkeypatch.setattr(triton, "fetch_wheel", lambda *_, **__: wheel)
    return wheel


def _write(wheel: Path, members: tuple[str, ...]) -> None:
    with zipfile.ZipFile(wheel, "w") as archive:
        for member in members:
            archive.writestr(member, member)


def test_only_the_server_is_unpacked(fake_wheel: Path) -> None:
    runtime = ensure_triton()
    files = {str(p.relative_to(runtime.root)) for p in runtime.root.rglob("*") if p.is_file()}
    assert files == {
        "bin/tritonserver",
        "backends/python/libtriton_python.so",
        "backends/python/triton_python_backend_stub",
        "caches/local/libtritoncache_local.so",
        "lib/libtritonserver.so",
        "lib/libnuma-1234.so.1.0.0",
        "lib/libnuma.so.1",
    }
    assert (runtime.libraries / "libnuma.so.1").readlink() == Path("libnuma-1234.so.1.0.0")
    assert runtime.server.stat().st_mode & 0o111


def test_a_wheel_without_a_stub_for_this_python_is_refused(fake_wheel: Path) -> None:
    _write(fake_wheel, tuple(member for member in MEMBERS if "/3.11/" not in member))
    with pytest.raises(SetupError, match="stub"):
        ensure_triton()
    assert not list((fake_wheel.parent / "home" / "triton").iterdir())


def test_other_machines_are_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = type("uname", (), {"sysname": "Darwin", "machine": "arm64"})
    monkeypatch.setattr("os.uname", lambda: machine)
    with pytest.raises(SetupError, match="Darwin arm64") as refusal:
        ensure_triton()
    assert "container" in (refusal.value.hint or "")


def test_an_unpinned_wheel_is_refused() -> None:
    for requirement in ("numpy", "numpy>=1", "../x==1", "--index-url==1"):
        with pytest.raises(SourceError, match="not pinned"):
            fetch_wheel(requirement)


def test_a_wheel_with_another_hash_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_TOOLKIT_HOME", str(tmp_path))
    kept = tmp_path / "wheels" / "x==1" / "x-1-py3-none-any.whl"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"tampered")
    with pytest.raises(SourceError, match="SHA-256"):
        fetch_wheel("x==1", sha256="0" * 64)
    assert not kept.exists()
