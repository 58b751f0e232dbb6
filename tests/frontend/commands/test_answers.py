"""What administrators type: wrong names and numbers, show and edit; no secret is shown twice."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from frontend.__main__ import main
from frontend.commands import find
from frontend.store.location import Location
from tests.support.databases import url_of

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(location: Location, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command on each kind of database; what argparse refuses ends with its code, too."""
    where = ["--database-url", url_of(location), "--data-directory", str(tmp_path)]

    def command(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main([*arguments, *where])
        except SystemExit as ended:
            code = int(ended.code or 0)
        return (code, *capsys.readouterr())

    return command


def shown(run: Run, *arguments: str) -> Any:
    code, text, problem = run(*arguments, "--json")
    assert code == 0, problem
    return json.loads(text)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["users", "shw", "ada"], "'shw' is not a command of `triton-gateway users`"),
        (
            ["users", "list", "--rle", "x"],
            "'--rle' is not an option of `triton-gateway users list`",
        ),
        (["users", "list", "extra"], "'extra' is not expected by `triton-gateway users list`"),
        (["quotas", "requests", "--status", "pendig"], "'pendig' is not a value of --status"),
        (["quotas", "create", "--user", "ada", "1e3"], "'1e3' is not a whole number"),
        (["quotas", "create", "--user", "ada", "9" * 20], "is too large; it must have at most 18"),
        (["users", "edit", "ada", "--email", "a@b.c", "--no-email"], "not allowed with"),
        (["quotas", "create", "5"], "--user --group --organisation --key is required"),
        (["credits", "grant", "--user", "ada", "nan"], "'nan' is not a number"),
        (["prices", "create", "m", "--prompt", "inf"], "'inf' is not a number"),
        (["plans", "create", "p", "--quota", "tokens=5"], "'tokens=5' is not a limit such as"),
        (["backup"], "the following arguments are required: file"),
        (["audit", "verfy"], "'verfy' is not a command of `triton-gateway audit`"),
    ],
)
def test_wrong_words_are_one_error_and_one_hint(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    text, said = capsys.readouterr()
    error, hint = said.splitlines()
    assert (ended.value.code, text) == (2, "")
    assert error.startswith("error: ")
    assert problem in error
    assert hint.startswith("hint: ")


def test_what_is_close_is_named(run: Run) -> None:
    run("users", "create", "ada")
    run("organisations", "create", "lab")
    run("groups", "create", "team", "--organisation", "lab")
    for arguments, close in (
        (["users", "show", "adda"], "ada"),
        (["users", "create", "bob", "--role", "studnet"], "student"),
        (["users", "create", "bob", "--group", "taem"], "team"),
        (["organisations", "delete", "lba"], "lab"),
        (["roles", "edit", "studen", "--weight", "2"], "student"),
        (["plans", "subscribe", "devloper", "--user", "ada"], "developer"),
        (["users", "shwo", "ada"], "show"),
    ):
        code, _, problem = run(*arguments)
        assert code in {1, 2}
        assert f"did you mean '{close}'?" in problem, arguments
    assert run("users", "show", "zzzz") == (1, "", "error: there is no user 'zzzz'\n")


def test_a_name_of_two_groups_asks_for_the_id(run: Run) -> None:
    run("organisations", "create", "lab")
    one = shown(run, "groups", "create", "team", "--organisation", "lab")["id"]
    two = shown(run, "groups", "create", "team")["id"]
    code, _, problem = run("groups", "show", "team")
    assert code == 2
    assert one in problem
    assert two in problem
    assert shown(run, "groups", "show", two)["name"] == "team"


def test_numbers_have_the_bounds_of_the_api(run: Run) -> None:
    run("users", "create", "ada")
    key = shown(run, "keys", "create", "ada")["id"]
    for arguments, field in (
        (["credits", "grant", "--user", "ada", "1e30"], "'credits'"),
        (["credits", "grant", "--user", "ada", "0"], "'credits'"),
        (["prices", "create", "m", "--prompt", "1e300"], "'prompt'"),
        (["prices", "create", "m", "--prompt", "-1"], "'prompt'"),
        (["prices", "create", ""], "'model'"),
        (["quotas", "create", "--user", "ada", "-5"], "'amount'"),
        (["quotas", "create", "--user", "ada", "5", "--model", "*"], "'model'"),
        (["keys", "rotate", key, "--grace", "99d"], "'grace_s'"),
        (["plans", "create", "p", "--credits", "-1"], "'credits'"),
        (["plans", "create", "p", "--quota", "token/minute=5"], "'measure'"),
    ):
        code, text, problem = run(*arguments)
        assert (code, text) == (2, ""), arguments
        assert problem.startswith(f"error: {field} is"), problem


def test_a_name_with_a_line_break_is_one_line_of_the_error(run: Run) -> None:
    for arguments in (["users", "create", "a\nb"], ["users", "create", "a", "--email", "b\nc"]):
        code, _, problem = run(*arguments)
        assert code == 2
        assert problem.count("\n") == 1
    for name in ("Zoë", "a b", "", " ada", "ада", "x" * 300, "a\u202eb"):
        assert run("users", "create", name)[0] == 2, name


def test_everything_that_is_made_can_be_shown_and_edited(run: Run) -> None:
    run("users", "create", "ada")
    quota = shown(run, "quotas", "create", "--user", "ada", "100")["id"]
    assert shown(run, "quotas", "edit", quota, "--amount", "200")["amount"] == 200
    assert shown(run, "quotas", "show", quota)["amount"] == 200
    key = shown(run, "keys", "create", "ada", "--model", "qwen")["id"]
    assert shown(run, "keys", "edit", key, "--disabled", "--name", "ci")["disabled"] is True
    assert shown(run, "keys", "edit", key, "--no-disabled", "--model", "*")["models"] is None
    assert shown(run, "keys", "show", key)["name"] == "ci"
    plan = shown(run, "plans", "create", "lab", "--credits", "5", "--quota", "tokens/minute=9")
    assert plan["quotas"] == [{"measure": "tokens", "period": "minute", "amount": 9}]
    assert shown(run, "plans", "edit", "lab", "--credits", "unlimited")["credits"] is None
    begun = shown(run, "plans", "subscribe", "lab", "--user", "ada")
    assert run("plans", "delete", "lab")[0] == 1, "somebody has it"
    assert shown(run, "plans", "end", begun["id"])["deleted"] is True
    assert shown(run, "plans", "delete", "lab")["deleted"] is True
    assert shown(run, "roles", "show", "admin")["built_in"] is True
    assert shown(run, "organisations", "show", "default")["name"] == "default"


def test_a_key_is_never_shown_again(run: Run) -> None:
    run("users", "create", "ada")
    made = shown(run, "keys", "create", "ada")
    secret = made["key"].rpartition("-")[2]
    # a whole key is understood where its public id is asked for, and not repeated
    for arguments in (["show"], ["edit", "--name", "x"], ["revoke"], ["show"]):
        for flags in ([], ["--json"]):
            _, text, problem = run("keys", arguments[0], made["key"], *arguments[1:], *flags)
            assert secret not in text + problem, arguments
    assert secret not in json.dumps(shown(run, "keys", "list"))


def test_a_list_is_read_to_its_end(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "_ALL", 2)
    names = [f"user-{number}" for number in range(5)]
    for name in names:
        run("users", "create", name)
    assert [one["name"] for one in shown(run, "users", "list")] == names
    assert len(shown(run, "roles", "list")) == 5


def test_addresses_are_unique_however_they_are_written(run: Run) -> None:
    assert run("users", "create", "ada", "--email", "Ada@Example.org")[0] == 0
    code, _, problem = run("users", "create", "eve", "--email", "ada@example.ORG")
    assert code == 1
    assert "'ada@example.ORG' already exists" in problem
    run("users", "create", "eve")
    assert run("users", "edit", "eve", "--email", "ADA@example.org")[0] == 1
    assert shown(run, "users", "edit", "ada", "--email", "ada@example.org")["email"] == (
        "ada@example.org"
    ), "a user's own address can be written in another way"


def test_the_case_of_ascii_letters_alone_is_the_same(run: Run) -> None:
    """In both databases, whatever PostgreSQL's locale is. A provider may give the Kelvin sign's
    address to somebody else than the owner of the `k`."""
    for name, email in (
        ("una", "Ünal@example.org"),
        ("uwe", "ünal@example.org"),
        ("kim", "kim@example.org"),
        ("kel", "\u212aim@example.org"),
    ):
        assert run("users", "create", name, "--email", email)[0] == 0, email
    code, _, problem = run("users", "create", "two", "--email", "Ünal@EXAMPLE.org")
    assert code == 1
    assert "already exists" in problem


def test_a_quota_ends_when_it_is_said(run: Run) -> None:
    run("users", "create", "ada")
    before_s = int(time.time())
    made = shown(run, "quotas", "create", "--user", "ada", "5000", "--expires-in", "2h")
    assert before_s + 7200 <= made["expires_at"] <= int(time.time()) + 7200
    later = shown(run, "quotas", "edit", made["id"], "--expires-in", "7d")
    assert later["expires_at"] > made["expires_at"]
    assert later["amount"] == 5000
    code, _, problem = run("quotas", "edit", made["id"], "--expires-in", "soon")
    assert code == 2
    assert "'soon' is not a duration such as" in problem


def test_an_address_is_removed(run: Run) -> None:
    run("users", "create", "ada", "--email", "ada@example.org")
    assert shown(run, "users", "edit", "ada", "--display-name", "Ada")["email"] == "ada@example.org"
    assert shown(run, "users", "edit", "ada", "--no-email")["email"] is None
    assert run("users", "create", "eve", "--email", "ada@example.org")[0] == 0, "it is free again"
