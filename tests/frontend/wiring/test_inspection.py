"""The settings in force: every one, and no secret."""

from pathlib import Path

import orjson
import pytest

from frontend.settings import Settings
from frontend.wiring.inspection import plain, settings_in_force


def test_every_setting_is_shown_once_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_FRONTEND_DATABASE_URL", "postgresql://u:geheim@host/db")
    monkeypatch.setenv("TRITON_FRONTEND_LOG_LOKI_TOKEN", "geheim")
    shown = settings_in_force(Settings(max_running=7))
    assert sorted(one["id"] for one in shown) == sorted(Settings.model_fields)
    assert b"geheim" not in orjson.dumps(shown)
    named = {one["id"]: one for one in shown}
    assert named["database_url"]["value"] == "(set)"
    assert named["database_url"]["is_secret"]
    assert named["redis_url"]["value"] is None
    assert (named["max_running"]["value"], named["max_running"]["default"]) == (7, 256)
    assert not named["max_running"]["is_default"]
    assert named["max_waiting"]["is_default"]
    assert all(one["description"] for one in shown)


def test_values_are_plain_and_urls_have_no_user() -> None:
    given = {"a": ("http://ada:geheim@host/x", Path("/tmp/x"))}
    assert plain(given) == {"a": ["http://…@host/x", "/tmp/x"]}
