"""`triton-gateway users|groups|organisations|roles|keys|key-requests|seed` on a new database."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from frontend.__main__ import main
from frontend.accounts.keyfile import add_key

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command on a database that the first one creates."""

    def command(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments, "--data-directory", str(tmp_path)])
        return (code, *capsys.readouterr())

    return command


def shown(run: Run, *arguments: str) -> Any:
    code, text, problem = run(*arguments, "--json")
    assert code == 0, problem
    return json.loads(text)


def test_the_first_administrator_has_no_default_password(run: Run) -> None:
    code, text, note = run("users", "create", "root", "--role", "admin")
    assert code == 0
    assert text.split()[:2] == ["id", "name"]
    assert "keys create root" in note
    _, first, _ = run("users", "password", "root")
    _, second, _ = run("users", "password", "root")
    assert first != second
    assert len(first.strip()) == 20
    code, key, note = run("keys", "create", "root")
    assert key.startswith("tt-")
    assert key.count("\n") == 1
    assert "cannot be shown again" in note


def test_users_and_groups_are_managed_by_name(run: Run) -> None:
    lab = shown(run, "organisations", "create", "lab")
    team = shown(run, "groups", "create", "team", "--organisation", "lab", "--weight", "2")
    assert team["organisation_id"] == lab["id"]
    ada = shown(run, "users", "create", "ada", "--group", "team", "--email", "ada@example.org")
    assert (ada["group_id"], ada["role"]) == (team["id"], "student")
    assert shown(run, "users", "edit", "ada", "--role", "staff")["role"] == "staff"
    assert shown(run, "users", "disable", "ada")["disabled"] is True
    assert shown(run, "users", "enable", ada["id"])["disabled"] is False
    assert [one["name"] for one in shown(run, "users", "list", "--group", "team")] == ["ada"]
    code, _, problem = run("groups", "delete", "team")
    assert (code, problem) == (1, "error: the group still has users; delete or move them first\n")
    assert shown(run, "users", "delete", "ada")["deleted"] is True
    assert shown(run, "groups", "delete", "team")["deleted"] is True
    assert shown(run, "organisations", "edit", "lab", "--name", "labs")["name"] == "labs"
    assert shown(run, "organisations", "delete", "labs")["deleted"] is True


@pytest.mark.parametrize(
    ("arguments", "flags"),
    [
        (["users", "edit", "ada"], "--name, --role, --display-name, --email, --no-email, --group"),
        (["organisations", "edit", "x", "--json"], "--name, --disabled"),
        (["groups", "edit", "x"], "--name, --weight, --audit"),
        (["roles", "edit", "student"], "--weight, --permission"),
        (["quotas", "edit", "q_1"], "--amount"),
        (["plans", "edit", "x"], "--credits"),
        (["keys", "edit", "x"], "--name, --disabled"),
        (["backends", "set", "x", "--revision", "1"], "--max-concurrent"),
    ],
)
def test_an_edit_without_a_change_is_wrong_use(
    arguments: list[str], flags: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--data-directory", str(tmp_path)])
    assert ended.value.code == 2
    problem = capsys.readouterr().err
    assert problem.startswith("error: nothing to change\nhint: add one or more of ")
    assert flags in problem


def test_roles_are_edited(run: Run) -> None:
    assert shown(run, "roles", "edit", "student", "--weight", "2")["weight"] == 2
    made = shown(run, "roles", "create", "desk", "--permission", "users", "--permission", "self")
    assert made["permissions"] == ["users", "self"]
    assert run("roles", "delete", "desk")[0] == 0
    code, _, problem = run("roles", "create", "x", "--permission", "root")
    assert code == 2
    assert "'permissions' contains 'root'; known: infer" in problem


def test_keys_are_listed_rotated_and_revoked(run: Run) -> None:
    run("users", "create", "ada")
    limits = ["--model", "qwen*", "--network", "10.0.0.0/8", "--expires-in", "7d"]
    made = shown(run, "keys", "create", "ada", "--name", "ci", *limits)
    assert (made["models"], made["networks"]) == (["qwen*"], ["10.0.0.0/8"])
    (listed,) = shown(run, "keys", "list", "--user", "ada")
    assert "key" not in listed
    rotated = shown(run, "keys", "rotate", made["id"], "--grace", "1h")
    assert rotated["id"] == made["id"]
    assert rotated["key"] != made["key"]
    assert run("keys", "revoke", made["id"])[0] == 0
    code, _, problem = run("keys", "revoke", made["id"])
    assert (code, problem) == (1, f"error: there is no key '{made['id']}'\n")


def test_a_key_file_is_imported_once(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "gateway.keys"
    add_key(file, "ada", "user")
    add_key(file, "ops", "admin")
    rows = shown(run, "keys", "import", str(file))
    assert len(rows) == 2
    assert shown(run, "keys", "import", str(file)) == []
    users = {one["name"]: one["role"] for one in shown(run, "users", "list")}
    assert users == {"ada": "student", "ops": "admin"}
    run("keys", "revoke", rows[0]["id"])
    assert shown(run, "keys", "import", str(file)) == [], "what was revoked stays revoked"
    file.write_text("broken\n")
    code, _, problem = run("keys", "import", str(file))
    assert code == 2
    assert problem.startswith(f"error: {file}:1: ")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("eve user", "expected 'NAME ROLE sha256:HEX'"),
        ("eve  user sha256:" + "0" * 64, "expected 'NAME ROLE sha256:HEX'"),
        ("eve user sha256:" + "0" * 63, "64 lowercase hexadecimal digits"),
        ("eve user sha256:" + "A" * 64, "64 lowercase hexadecimal digits"),
        ("eve user md5:" + "0" * 64, "64 lowercase hexadecimal digits"),
        ("eve root sha256:" + "0" * 64, "the role must be one of"),
        ("=eve user sha256:" + "0" * 64, "the name must be"),
        ("e" * 65 + " user sha256:" + "0" * 64, "the name must be"),
        ("anonymous user sha256:" + "0" * 64, "is reserved"),
        ("tk-a-secret-in-the-wrong-file", "expected 'NAME ROLE sha256:HEX'"),
        ("\x00", "expected 'NAME ROLE sha256:HEX'"),
    ],
)
def test_a_malformed_line_imports_nothing(
    run: Run, tmp_path: Path, line: str, problem: str
) -> None:
    file = tmp_path / "gateway.keys"
    add_key(file, "ada", "user")
    with file.open("a") as lines:
        lines.write(f"# a comment\n\n{line}\n")
    code, _, text = run("keys", "import", str(file))
    assert code == 2
    assert text.startswith(f"error: {file}:4: ")
    assert problem in text
    assert "secret" not in text, "a line may hold a key"
    assert shown(run, "users", "list") == [], "all or none"


def test_a_file_that_is_not_of_keys_imports_nothing(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "gateway.keys"
    for make in (lambda: file.write_bytes(b"\xff\xfe\x00"), file.unlink, file.mkdir):
        make()
        code, _, text = run("keys", "import", str(file))
        assert (code, text.count("\n")) == (2, 1), text
        assert text.startswith(f"error: {file}")
    file.rmdir()
    add_key(file, "ada", "user")
    file.write_text(file.read_text() * 2)
    code, _, text = run("keys", "import", str(file))
    assert (code, "the key is the same as in line 1" in text) == (2, True)
    assert shown(run, "users", "list") == []


def test_an_import_takes_over_no_account(run: Run, tmp_path: Path) -> None:
    run("users", "create", "ada", "--role", "admin")
    file = tmp_path / "gateway.keys"
    add_key(file, "bob", "user")
    add_key(file, "ada", "user")
    code, _, problem = run("keys", "import", str(file))
    assert code == 1
    assert "'ada' already exists" in problem
    assert [one["name"] for one in shown(run, "users", "list")] == ["ada"], "all or none"


def test_seed_prints_random_secrets_once(run: Run) -> None:
    rows = shown(run, "seed")
    assert {one["role"] for one in rows} == {"admin", "faculty", "staff", "student", "service"}
    assert len({one["password"] for one in rows}) == len(rows)
    assert all(one["key"].startswith("tt-") for one in rows)
    code, text, problem = run("seed")
    assert (code, text) == (1, "")
    assert "'demo' already exists" in problem


def test_requests_for_keys_are_listed(run: Run) -> None:
    assert shown(run, "key-requests", "list") == []
    code, _, problem = run("key-requests", "approve", "absent")
    assert (code, problem) == (1, "error: there is no request 'absent'\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["users"],
        ["users", "create"],
        ["groups", "create", "x", "--weight", "0"],
        ["keys", "create", "ada", "--expires-in", "soon"],
        ["roles", "list", "--all"],
    ],
)
def test_wrong_arguments_are_refused(run: Run, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 2
