"""Aider edits a file in a scratch repository, once through each API: protocol, not genius."""

import os
import subprocess
from pathlib import Path

url, chat = os.environ["GATEWAY"], os.environ["CHAT"]
common = ["--yes-always", "--no-analytics", "--no-check-update", "--no-show-model-warnings"]
common += ["--no-gitignore", "--map-tokens", "0", "--edit-format", "whole", "--no-stream"]


def edit(folder: str, model: str, **environment: str) -> str:
    root = Path(folder)
    root.mkdir()
    subprocess.run(["git", "init", "-q"], check=True, cwd=root)
    (root / "hello.py").write_text("print('hello')\n")
    message = "Change hello to goodbye."
    done = subprocess.run(
        ["aider", "--model", model, *common, "--message", message, "hello.py"],
        check=True,
        cwd=root,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    said = done.stdout + done.stderr
    assert "Tokens:" in said, said  # an answer came, and was counted
    assert "litellm." not in said, said  # no error of the protocol
    return said


edit("ollama", f"ollama_chat/{chat}", OLLAMA_API_BASE=url)
edit("openai", f"openai/{chat}", OPENAI_API_BASE=f"{url}/v1", OPENAI_API_KEY="unused")
