"""Open WebUI, headless: sign-up, the list of models, one chat through each API."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

url, chat = os.environ["GATEWAY"], os.environ["CHAT"]
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
environment = os.environ | {
    "OLLAMA_BASE_URL": url,
    "OPENAI_API_BASE_URL": f"{url}/v1",
    "OPENAI_API_KEY": "unused",
    "OFFLINE_MODE": "true",
    "HF_HUB_OFFLINE": "1",
    "RAG_EMBEDDING_ENGINE": "openai",
    "WEBUI_SECRET_KEY": "of-this-run-alone",
    "DATA_DIR": str(Path("data").absolute()),
}
server = subprocess.Popen(
    [str(Path(sys.executable).parent / "open-webui"), "serve", "--host", "127.0.0.1"]
    + ["--port", str(port)],
    env=environment,
    stdout=Path("log").open("wb"),
    stderr=subprocess.STDOUT,
)


def ask(path: str, body: object = None, token: str = "") -> dict:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"content-type": "application/json", "authorization": f"Bearer {token}"},
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


try:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            if ask("/health"):
                break
        time.sleep(1)
    person = {"name": "Ada", "email": "ada@example.org", "password": "of-this-run-alone"}
    token = ask("/api/v1/auths/signup", person)["token"]
    models = {model["id"] for model in ask("/api/models", token=token)["data"]}
    assert {chat, f"{chat}:latest"} <= models, models  # OpenAI's name and Ollama's
    for name in (chat, f"{chat}:latest"):
        question = {"role": "user", "content": "What is the capital of France?"}
        body = {"model": name, "messages": [question], "stream": False}
        answer = ask("/api/chat/completions", body, token)
        assert answer["choices"][0]["message"]["content"], answer
finally:
    server.terminate()
    server.wait(60)
