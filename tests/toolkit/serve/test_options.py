"""What `toolkit serve` passes on to the gateway."""

from pathlib import Path

from frontend.settings import Settings
from toolkit.serve.supervisor import ServeOptions


def test_names_and_origins_reach_the_gateway() -> None:
    given = {"allowed_hosts": "llm.example", "allowed_origins": "https://chat.example,app://*"}
    argv = ServeOptions(Path("models"), **given).gateway("unix:/x")  # type: ignore[arg-type]
    settings = Settings(_cli_parse_args=argv[argv.index("frontend") + 1 :])  # type: ignore[call-arg]
    assert settings.hosts == ["llm.example"]
    assert settings.origins == ["https://chat.example", "app://*"]


def test_what_is_not_given_is_left_to_the_environment() -> None:
    assert not [word for word in ServeOptions(Path("models")).gateway("x") if "allowed" in word]
