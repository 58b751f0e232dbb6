"""Models of the running service, unloaded and loaded by the admin API while others work."""

import json

import httpx2
import pytest

from frontend.__main__ import main as gateway_main
from tests.e2e.conftest import CHAT, IMAGE
from tests.support.processes import Service


@pytest.fixture
def admin(service: Service, capsys: pytest.CaptureFixture[str]) -> str:
    """The key of an admin of the service, in whose database the commands work, too."""
    assert gateway_main(["users", "create", "models-admin", "--role", "admin", "--json"]) == 0
    user = json.loads(capsys.readouterr().out)
    assert gateway_main(["keys", "create", user["id"], "--json"]) == 0
    return str(json.loads(capsys.readouterr().out)["key"])


def test_a_diffusion_model_goes_and_comes_back_beside_a_stream(
    service: Service, admin: str
) -> None:
    headers = {"authorization": f"Bearer {admin}"}
    talk = {
        "model": CHAT,
        "messages": [{"role": "user", "content": "Count to a thousand."}],
        "max_tokens": 1500,
        "ignore_eos": True,
        "stream": True,
    }
    picture = {"model": IMAGE, "prompt": "a cat", "seed": 1}
    with (
        httpx2.Client(base_url=service.url, timeout=200) as other,
        httpx2.Client(base_url=service.url, timeout=200) as api,
        other.stream("POST", "/v1/chat/completions", json=talk) as stream,
    ):
        pieces = (line for line in stream.iter_lines() if line.startswith("data: "))
        next(pieces)
        for action, state in (("unload", "unloaded"), ("load", "loaded")):
            answer = api.post(f"/admin/models/{action}", json={"model": IMAGE}, headers=headers)
            assert answer.status_code == 200, answer.text
            assert answer.json()["state"] == state
            assert '"error"' not in next(pieces)
        assert api.post("/v1/images/generations", json=picture).status_code == 200
        assert '"error"' not in next(pieces)
        shown = {one["id"]: one for one in api.get("/admin/models", headers=headers).json()["data"]}
    assert {CHAT, IMAGE} <= shown.keys()
    assert shown[CHAT]["size_bytes"] > 1e8
    assert shown[IMAGE]["upstreams"][0]["versions"][0]["version"] == "1"
