"""Settings come from the environment and from flags; a wrong one is named."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from frontend.settings import Settings
from tests.support.processes import ROOT


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "frontend", *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_a_wrong_setting_is_named() -> None:
    refusal = run("--port", "99999", "--log-level", "loud")
    assert refusal.returncode == 2
    assert "setting 'port'" in refusal.stderr
    assert "setting 'log_level'" in refusal.stderr
    assert "Traceback" not in refusal.stderr


def test_help_tells_every_setting() -> None:
    said = run("serve", "--help").stdout
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')}" in said


def test_the_environment_sets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_FRONTEND_MAX_RUNNING", "7")
    monkeypatch.setenv("TRITON_FRONTEND_TRITON", "unix:/x")
    settings = Settings()
    assert (settings.max_running, settings.triton) == (7, "unix:/x")


def test_only_loopback_is_listened_on_unless_told() -> None:
    assert Settings.model_fields["host"].default == "127.0.0.1"


def test_tritons_key_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("Control=secret\n")
    assert Settings(triton_key_file=file).triton_key == ("control", "secret")
    for text in ("", "secret", "=secret", "control="):
        file.write_text(text)
        with pytest.raises(ValueError, match="does not contain NAME=VALUE"):
            Settings(triton_key_file=file)
    with pytest.raises(ValueError, match="No such file"):
        Settings(triton_key_file=tmp_path / "absent")


def test_open_mode_is_for_loopback() -> None:
    far = "192.0.2.1"
    for more in ({}, {"open": True}, {"open": True, "keys_file": Path("keys")}):
        with pytest.raises(ValidationError, match=r"--open-to-network") as refused:
            Settings(host=far, **more)  # type: ignore[arg-type]
        assert "--require-keys" in str(refused.value)
    assert not Settings(host=far, open_to_network=True).keys_are_required
    assert not Settings(open=True, keys_file=Path("keys")).keys_are_required
    assert Settings(host=far, keys_file=Path("keys")).keys_are_required
    with pytest.raises(ValidationError, match="cannot be combined"):
        Settings(open_to_network=True, require_keys=True)


@pytest.mark.parametrize(
    "given",
    [
        {"allowed_origins": "chat.example"},
        {"allowed_origins": "https://chat.example/"},
        {"allowed_origins": "null"},
        {"allowed_hosts": "https://llm.example"},
        {"allowed_hosts": "llm.example:9000"},
    ],
)
def test_what_can_never_match_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="is not"):
        Settings(**given)  # type: ignore[arg-type]


def test_they_never_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1


def test_serve_is_the_command_that_no_name_means() -> None:
    named, unnamed = run("serve", "--port", "99999"), run("--port", "99999")
    assert (named.returncode, named.stderr) == (2, unnamed.stderr)
