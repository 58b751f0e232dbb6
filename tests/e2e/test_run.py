"""`toolkit run` against the served default models: a chat, a pipe, a vector, an image."""

import json
import subprocess
import sys
from pathlib import Path

from tests.e2e.conftest import CHAT, EMBEDDING, IMAGE
from tests.support.processes import ROOT, Service
from tests.support.terminal import on_terminal

RUN = [sys.executable, "-m", "toolkit", "run"]


def test_a_chat_finds_the_service(service: Service, tmp_path: Path) -> None:
    command = [*RUN, "smollm2", "--port", str(service.port), "--set", "temperature=0"]
    with on_terminal(command, {"PYTHONPATH": str(ROOT)}, tmp_path) as chat:
        chat.expect(">>>")
        chat.send("/set max_tokens 20", "max_tokens: 20")
        chat.send("What is the capital of France?", "Paris")
        chat.expect(">>>")
        chat.send("/show info", CHAT)
        chat.send("/set max_tokens 100000", "max_tokens: 100000")
        chat.send("hello", "error: ")
        chat.expect(">>>")
        chat.type("\x04")
        assert chat.process.wait(30) == 0


def test_questions_in_a_pipe(service: Service, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        command = [*RUN, "--port", str(service.port), *arguments]
        ran = subprocess.run(
            command,
            input="",
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=120,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    asked = ("--set", "temperature=0", "--json", "What is the capital of France?")
    answer = json.loads(run(CHAT, *asked))
    assert "Paris" in answer["text"]
    assert len(json.loads(run(EMBEDDING, "a cat"))) == 384
    assert run(IMAGE, "a red heart", "--output", "heart.png") == "heart.png\n"
    assert (tmp_path / "heart.png").read_bytes()[:4] == b"\x89PNG"
