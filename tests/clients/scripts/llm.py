"""The `llm` command with its Ollama plugin, found through OLLAMA_HOST."""

import os
import subprocess

chat = f"{os.environ['CHAT']}:latest"


def llm(*arguments: str) -> str:
    done = subprocess.run(["llm", *arguments], check=True, capture_output=True, text=True)
    return done.stdout


assert chat in llm("ollama", "models")
chat = f"ollama/{chat}"
assert "Paris" in llm("-m", chat, "-o", "temperature", "0", "What is the capital of France?")
whole = ("--no-stream", "-o", "temperature", "0")
assert "Paris" in llm("-m", chat, *whole, "What is the capital of France?")
