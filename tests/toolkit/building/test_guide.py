"""The entries of docs/guides/models.md, built unchanged and called with the OpenAI SDK."""

import re
from pathlib import Path

import numpy as np
from openai import OpenAI
from typer.testing import CliRunner

from tests.support.processes import ROOT, served
from toolkit.cli import app

GUIDE = (ROOT / "docs" / "guides" / "models.md").read_text()


def write_example(folder: Path) -> Path:
    """models.yaml of the guide's first three YAML blocks, and the files its Python blocks name."""
    blocks = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    (folder / "models.yaml").write_text("\n".join(blocks[:3]))
    for name, code in re.findall(r"```python\n# (\S+\.py)\n(.*?)```", GUIDE, re.DOTALL):
        (folder / name).write_text(code)
    return folder / "models.yaml"


def test_a_new_users_own_entries(tmp_path: Path) -> None:
    file, repository = write_example(tmp_path), tmp_path / "model_repository"
    runner = CliRunner()
    built = runner.invoke(app, ["build-repo", str(file), "--output", str(repository)])
    assert built.exit_code == 0, built.output
    assert runner.invoke(app, ["verify", str(repository), "--strict"]).exit_code == 0
    with (
        served(repository, tmp_path / "log", timeout_s=120) as service,
        OpenAI(base_url=f"{service.url}/v1", api_key="unused", max_retries=0) as client,
    ):

        def embed(model: str, text: str) -> tuple[list[float], int]:
            answer = client.embeddings.create(model=model, input=text)
            return answer.data[0].embedding, answer.usage.prompt_tokens

        names = {model.id for model in client.models.list()}
        assert {"minilm-short", "hashed", "tidy-minilm"} <= names
        assert "tidy" not in names
        assert embed("hashed", "Two words")[1] == 2
        assert len(embed("hashed", "Two words")[0]) == 64
        plain, tokens = embed("short", "two words")
        tidied, same = embed("tidy-minilm", "  two   words ")
        assert tokens == same
        np.testing.assert_allclose(tidied, plain, atol=1e-5)
