"""`triton-gateway keys`: what it prints, and where."""

import json
from pathlib import Path

import pytest

from frontend.__main__ import main
from frontend.accounts.credentials import parse_key
from frontend.accounts.keys import Keys


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["keys", *arguments])
    return (code, *capsys.readouterr())


def test_add_prints_the_key_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "keys")
    code, secret, notes = run(capsys, "add", "ops", "--role", "admin", "-f", file)
    credential = parse_key(secret.strip().encode())
    assert credential is not None
    caller = Keys(Path(file)).find(credential)
    assert code == 0
    assert caller is not None
    assert caller.role.name == "admin"
    assert file in notes
    _, answer, _ = run(capsys, "add", "ada", "--json", "-f", file)
    assert json.loads(answer).keys() == {"name", "role", "key"}
    _, listed, _ = run(capsys, "list", "--json", "-f", file)
    names = [{"name": "ops", "role": "admin"}, {"name": "ada", "role": "user"}]
    assert json.loads(listed) == names
    _, listed, _ = run(capsys, "list", "-f", file)
    assert [line.split()[:2] for line in listed.splitlines()] == [["ops", "admin"], ["ada", "user"]]
    assert run(capsys, "remove", "ops", "--json", "-f", file)[:2] == (0, '{"removed": "ops"}\n')
    assert run(capsys, "list", "-f", file)[1].startswith("ada ")


def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keys"
    file.write_text("ada user sha256:00\n")
    for arguments in (["list"], ["add", "bob"], ["remove", "ada"]):
        code, answer, problem = run(capsys, *arguments, "-f", str(file))
        assert (code, answer) == (2, "")
        assert problem.startswith(f"error: {file}:1: ")
        assert problem.count("\n") == 1
    assert run(capsys, "add", "anonymous", "-f", str(tmp_path / "new"))[0] == 2


@pytest.mark.parametrize("arguments", [[], ["make"], ["add", "a", "--role", "root"], ["add"]])
def test_wrong_arguments_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["keys", *arguments])
    assert ended.value.code == 2
    assert "`triton-gateway keys" in capsys.readouterr().err
