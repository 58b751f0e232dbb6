"""The help of `triton-gateway` and its commands: whole, and without what only work needs."""

import re
import subprocess
import sys

import pytest

from frontend.__main__ import _COMMANDS, _SERVER, main

HEAVY = {"alembic", "argon2", "asyncpg", "grpc", "httpx", "redis", "sqlalchemy", "starlette"}
HEAVY |= {"tritonclient", "uvicorn", "uvloop"}
_LIST_MODULES = """
import atexit, sys
atexit.register(lambda: print("modules:", *sys.modules, file=sys.stderr))
from frontend.__main__ import main
sys.exit(main())
"""


def run(*arguments: str) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """The process of `triton-gateway ARGUMENTS`, and the packages that it has imported."""
    argv = [sys.executable, "-c", _LIST_MODULES, *arguments]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False)
    modules = ran.stderr.rpartition("modules: ")[2].split()
    assert "sys" in modules
    return ran, {name.partition(".")[0] for name in modules}


def test_the_list_of_commands_needs_no_library() -> None:
    ran, packages = run("--help")
    assert ran.returncode == 0
    assert not packages & (HEAVY | {"pydantic", "asyncio", "msgspec"})
    listed = [line.split()[0] for line in ran.stdout.splitlines() if line.startswith("  ")]
    assert listed == [*_SERVER, *_COMMANDS]


@pytest.mark.parametrize("name", [*_COMMANDS])
def test_the_help_of_a_command_loads_no_database(name: str) -> None:
    ran, packages = run(name, "--help")
    assert ran.returncode == 0
    assert ran.stdout.startswith(f"usage: triton-gateway {name}")
    assert not packages & (HEAVY | {"pydantic"})


@pytest.mark.parametrize("name", [*_SERVER])
def test_the_settings_are_listed_without_the_server(name: str) -> None:
    ran, packages = run(name, "--help")
    assert ran.returncode == 0
    assert "--database-url" in ran.stdout
    assert not packages & HEAVY


@pytest.mark.parametrize(
    ("name", "hint"),
    [("user", "did you mean 'users'?"), ("qzx", "`triton-gateway --help` lists the commands")],
)
def test_a_misspelt_command_is_wrong_use(
    name: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "list"]) == 2
    assert capsys.readouterr().err == f"error: '{name}' is not a command\nhint: {hint}\n"


def test_version_and_help_are_found_as_in_other_programs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for flag in ("-V", "--version"):
        assert main([flag]) == 0
        assert re.fullmatch(r"triton-gateway \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)
    with pytest.raises(SystemExit) as ended:
        main(["help", "keys"])
    assert not ended.value.code
    assert capsys.readouterr().out.startswith("usage: triton-gateway keys")
    assert main(["help", "kesy"]) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--prot 1", "there is no flag --prot; did you mean --port?"),
        ("--verion", "there is no flag --verion; did you mean --version?"),
        ("--qzx=secret", "there is no flag --qzx; `triton-gateway --help` lists the flags"),
        ("extra", "'extra' is not a flag; `triton-gateway --help` lists the flags"),
        ("--port x", "setting 'port': 'x' is not a whole number"),
        ("--port 70000", "setting 'port': '70000' is above the maximum of 65535"),
        ("--drain-s soon", "setting 'drain_s': 'soon' is not a number"),
        ("--max-waiting -5", "setting 'max_waiting': '-5' is below the minimum of 0"),
        (
            "--log-level loud",
            "setting 'log_level': 'loud' is not one of debug, info, warning, error",
        ),
    ],
)
def test_a_wrong_flag_is_answered_in_one_line(
    arguments: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *arguments.split()]) == 2
    assert capsys.readouterr().err == f"error: {said}\n"
