"""What `toolkit serve` passes on to the gateway, and what it lets the gateway check."""

from pathlib import Path

import pytest

from frontend.settings import Settings
from toolkit.errors import UsageError
from toolkit.serve.options import ServeOptions


def options(*gateway: str, host: str = "127.0.0.1") -> ServeOptions:
    return ServeOptions(Path("models"), host=host, gateway=gateway)


def test_settings_reach_the_gateway() -> None:
    given = ("--allowed-hosts", "llm.example", "--allowed-origins=https://chat.example,app://*")
    argv = options(*given).gateway_command("unix:/x")
    settings = Settings(_cli_parse_args=argv[argv.index("serve") + 1 :])  # type: ignore[call-arg]
    assert settings.hosts == ["llm.example"]
    assert settings.origins == ["https://chat.example", "app://*"]
    assert settings.drain_s == 20


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (("--port", "80"), "pass --port before `--`"),
        (("--no-open",), "pass --open before `--`"),
        (("--triton-key-file=k",), "pass --control-key-file before `--`"),
    ],
)
def test_settings_with_an_option_of_their_own_are_refused(
    given: tuple[str, ...], hint: str
) -> None:
    with pytest.raises(UsageError, match="is an option of `toolkit serve`") as refused:
        options(*given).gateway_command("unix:/x")
    assert refused.value.hint == hint


def test_the_gateway_checks_its_settings_and_its_key_file(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"ada user sha256:{'0' * 64}\n")
    options("--keys-file", str(keys), host="0.0.0.0").check_gateway()  # noqa: S104
    keys.write_text("ada user sha256:0\n")
    with pytest.raises(UsageError, match=f"{keys}:1: the digest must be"):
        options("--keys-file", str(keys)).check_gateway()
    with pytest.raises(UsageError, match="max_waiting"):
        options("--max-waiting", "x").check_gateway()
    with pytest.raises(UsageError, match="host"):
        options(host="0.0.0.0").check_gateway()  # noqa: S104
