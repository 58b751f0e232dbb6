"""`toolkit keys`, and the file it keeps."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from frontend.accounts.keys import Keys
from frontend.domain.identity import Caller, Role
from toolkit.cli.app import app
from toolkit.errors import ServeError
from toolkit.serve.keys import add_key, read_keys, remove_key


def test_a_key_is_told_once_and_kept_as_a_digest(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    ran = CliRunner().invoke(app, ["keys", "add", "ada", "--role", "admin", "-f", str(file)])
    secret = ran.stdout.strip()
    assert secret.startswith("tk-")
    assert len(secret) > 40
    assert secret not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert Keys(file).find(secret.encode()) == Caller("ada", Role.ADMIN)
    listed = CliRunner().invoke(app, ["keys", "list", "--json", "-f", str(file)])
    assert json.loads(listed.stdout) == [{"name": "ada", "role": "admin"}]
    assert CliRunner().invoke(app, ["keys", "remove", "ada", "-f", str(file)]).exit_code == 0
    assert read_keys(file) == []


def test_comments_stay(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# staff\n\n")
    add_key(file, "a", "user")
    add_key(file, "b", "user")
    remove_key(file, "a")
    lines = file.read_text().splitlines()
    assert lines[:2] == ["# staff", ""]
    assert [key.name for key in read_keys(file)] == ["b"]


@pytest.mark.parametrize("name", ["", "a b", "a" * 65, "ä", "a\nb", "../x"])
def test_names_that_break_the_file_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ServeError, match="cannot name a key"):
        add_key(tmp_path / "keys", name, "user")


def test_other_mistakes_are_named(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    add_key(file, "ada", "user")
    with pytest.raises(ServeError, match="has a key named 'ada'"):
        add_key(file, "ada", "user")
    with pytest.raises(ServeError, match="no role 'root'"):
        add_key(file, "bob", "root")
    with pytest.raises(ServeError, match="no key named 'bob'"):
        remove_key(file, "bob")
    with pytest.raises(ServeError, match="No such file"):
        read_keys(tmp_path / "nothing")
    file.write_text("secret\n")
    with pytest.raises(ServeError, match="line 1") as refused:
        read_keys(file)
    assert "secret" not in str(refused.value)
