"""The one parser of key files is strict, and says which line is wrong without showing it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.accounts.credentials import Credential, digest_of, parse_key
from frontend.accounts.keys import (
    NAME,
    Key,
    KeyFileError,
    Keys,
    parse_line,
    read_lines,
)
from frontend.accounts.roles import FILE_ROLES

DIGEST = digest_of(b"secret")
LINE = f"ada user sha256:{DIGEST.hex()}"


def presented(text: str) -> Credential:
    credential = parse_key(text.encode())
    assert credential is not None
    return credential


def keys(folder: Path, text: str) -> Keys:
    file = folder / "keys"
    file.write_text(text)
    found = Keys(file)
    found.read()
    return found


def test_a_caller_is_found_by_the_key(tmp_path: Path) -> None:
    found = keys(tmp_path, f"# people\n\n{LINE}\nops admin sha256:{digest_of(b'other').hex()}\n")
    ada, ops = found.find(presented("secret")), found.find(presented("other"))
    assert ada is not None
    assert ops is not None
    assert (ada.name, ada.role.name, ops.name, ops.role.name) == ("ada", "user", "ops", "admin")
    assert found.find(presented("unknown")) is None


def test_who_gets_an_old_name_is_somebody_else(tmp_path: Path) -> None:
    before = keys(tmp_path, LINE).find(presented("secret"))
    after = keys(tmp_path, f"ada user sha256:{digest_of(b'new').hex()}").find(presented("new"))
    assert before is not None
    assert after is not None
    assert before.name == after.name
    assert before.user != after.user


@given(
    st.from_regex(NAME, fullmatch=True).filter(lambda n: n != "anonymous"),
    st.sampled_from([*FILE_ROLES]),
)
def test_a_line_is_read_as_it_was_written(name: str, role: str) -> None:
    key = Key(name, role, DIGEST)
    assert parse_line(key.line()) == key


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (LINE[:-1], "64 lowercase"),
        (LINE.replace("sha256:", "md5:"), "64 lowercase"),
        (LINE.upper().replace("ADA USER SHA256", "ada user sha256"), "64 lowercase"),
        (LINE.replace(" user", "  user"), "single spaces"),
        (LINE.replace(" ", "\t"), "single spaces"),
        (f" {LINE}", "single spaces"),
        (f"{LINE} ", "single spaces"),
        (f"{LINE} # comment", "single spaces"),
        (LINE.replace("user", "root"), "user, admin"),
        (LINE.replace("user", "USER"), "user, admin"),
        (LINE.replace("ada", "anonymous"), "reserved"),
        (LINE.replace("ada", "a" * 65), "1 to 64"),
        (LINE.replace("ada", "ä"), "1 to 64"),
        ("tk-a-secret", "single spaces"),
    ],
)
def test_any_other_line_is_refused_with_its_place(tmp_path: Path, line: str, problem: str) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# people\n{line}\n")
    with pytest.raises(KeyFileError) as refused:
        read_lines(file)
    assert str(refused.value).startswith(f"{file}:2: ")
    assert problem in str(refused.value)
    assert "tk-a-secret" not in str(refused.value)
    assert DIGEST.hex()[:20] not in str(refused.value)


def test_a_key_has_one_owner(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r":2: the key is the same as in line 1"):
        keys(tmp_path, f"{LINE}\nbob user sha256:{DIGEST.hex()}\n")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="No such file"):
        Keys(tmp_path / "absent").read()
    (tmp_path / "keys").write_bytes(b"\xff")
    with pytest.raises(KeyFileError, match="utf-8"):
        Keys(tmp_path / "keys").read()


def test_an_invalid_file_leaves_the_keys_as_they_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = keys(tmp_path, LINE)
    found.path.write_text("broken tk-a-secret\n")
    found._checked_at_s = -1e9
    assert found.find(presented("secret")) is not None
    assert f"{found.path}:1:" in caplog.text
    assert "tk-a-secret" not in caplog.text


def test_a_removed_key_stops_working(tmp_path: Path) -> None:
    found = keys(tmp_path, LINE)
    found.path.write_text("# nobody\n")
    found._checked_at_s = -1e9
    assert found.find(presented("secret")) is None
