"""Keys are added and removed without touching the lines that people wrote."""

import os
from pathlib import Path

import pytest

from frontend.accounts.credentials import parse_key
from frontend.accounts.keyfile import add_key, list_keys, remove_key
from frontend.accounts.keys import KeyFileError, Keys


def test_a_new_key_works_and_is_stored_as_a_digest(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    secret = add_key(file, "ada", "admin")
    assert secret.startswith("tk-")
    assert secret not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    credential = parse_key(secret.encode())
    assert credential is not None
    caller = Keys(file).find(credential)
    assert caller is not None
    assert (caller.name, caller.role.name) == ("ada", "admin")


def test_comments_stay(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# staff\n\n")
    add_key(file, "a", "user")
    add_key(file, "b", "user")
    remove_key(file, "a")
    assert file.read_text().splitlines()[:2] == ["# staff", ""]
    assert [key.name for key in list_keys(file)] == ["b"]


@pytest.mark.parametrize("name", ["", "a b", "a" * 65, "ä", "a\nb", "../x", "anonymous"])
def test_invalid_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyFileError, match="the name"):
        add_key(tmp_path / "keys", name, "user")
    assert not (tmp_path / "keys").exists()


def test_names_are_added_once_and_removed_only_when_present(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    add_key(file, "ada", "user")
    with pytest.raises(KeyFileError, match="already has a key with the name 'ada'"):
        add_key(file, "ada", "user")
    with pytest.raises(KeyFileError, match="no key with the name 'bob'"):
        remove_key(file, "bob")


def test_an_invalid_file_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("ada  user sha256:0\n")
    for change in (lambda: add_key(file, "bob", "user"), lambda: remove_key(file, "ada")):
        with pytest.raises(KeyFileError, match=f"{file}:1"):
            change()
    assert file.read_text() == "ada  user sha256:0\n"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="No such file"):
        add_key(tmp_path / "absent" / "keys", "ada", "user")


def test_a_changed_file_keeps_its_owner_and_mode(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    add_key(file, "a", "user")
    file.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(file, 12345, 23456)
    before = file.stat()
    add_key(file, "b", "user")
    remove_key(file, "a")
    after = file.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (
        before.st_uid, before.st_gid, before.st_mode,
    )  # fmt: skip
