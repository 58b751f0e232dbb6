"""`toolkit run` in a pipe: one answer, exit codes, JSON, and models that do not chat."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.gateway import Gateway
from tests.support.processes import ROOT


@pytest.fixture
def run(gateway: Gateway, tmp_path: Path) -> Any:
    environment = {
        "TRITON_TOOLKIT_HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(ROOT),
        "PATH": "/usr/bin:/bin",
    }

    def call(*arguments: str, text: str = "", url: str = gateway.url) -> Any:
        return subprocess.run(
            [sys.executable, "-m", "toolkit", "run", "--url", url, *arguments],
            input=text,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            timeout=120,
            check=False,
        )

    return call


def test_prompt_and_standard_input_make_one_question(run: Any) -> None:
    ran = run("echo", "Summarize:", text="a long text\n")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "Summarize:\n\na long text\n"
    assert "\x1b" not in ran.stdout + ran.stderr
    assert run("echo", text="only this").stdout == "only this\n"


def test_json_has_usage_and_rates(run: Any) -> None:
    script = json.dumps({"text": "one two three", "reasoning": "hm"})
    ran = run("echo", "--json", "--set", "temperature=0", script)
    answer = json.loads(ran.stdout)
    assert answer["text"] == "one two three"
    assert answer["reasoning"] == "hm"
    assert answer["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] > 0
    assert answer["rates"]["total_s"] > 0
    assert "tokens/s" in run("echo", "--verbose", "a b c d").stderr


@pytest.mark.parametrize(
    ("options", "sent"),
    [([], 0.7), (["--set", "temperature=0.2"], 0.2), (["--set", "temperature=default"], None)],
)
def test_the_temperature_that_the_engine_gets(
    run: Any, options: list[str], sent: float | None
) -> None:
    shown = json.loads(run("echo", *options, json.dumps({"echo": True})).stdout)
    assert shown["sampling_parameters"].get("temperature") == sent


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("echo",), 2, "there is no prompt"),
        (("echoo", "x"), 1, "did you mean echo"),
        (("echo", "--set", "temperature", "x"), 2, "is not NAME=VALUE"),
        (("echo", "--set", "temperature=warm", "x"), 2, "'warm' is not a valid temperature"),
        (("echo", "--tools", "gone.json", "x"), 2, "gone.json cannot be read"),
        (("echo", "--port", "1", "x"), 2, "--url and --port cannot be combined"),
        (("echo-diffusion", "-o", "gone/a.png", "x"), 2, "the folder"),
        (("echo-diffusion", "-o", ".", "x"), 2, ". is a folder"),
        (("echo-diffusion", "--system", "s", "x"), 2, "--system is not for echo-diffusion"),
        (("echo-embedding", "--system", "", "x"), 2, "a model of kind 'embedding'"),
        (("echo-embedding", "--image", "a.png", "x"), 2, "--image is not for echo-embedding"),
        (("echo-embedding", "--verbose", "x"), 2, "--verbose is not for echo-embedding"),
        (("echo", "-o", "a.png", "x"), 2, "--output is not for echo, a model of kind 'llm'"),
        (("echo", "--context-length", "99", "x"), 2, "--context-length is for a model that is"),
        (("echo", "--set", "format=~nobody-here/x", "x"), 2, "this user does not exist"),
        (("echo", json.dumps({"fail_after": 0})), 1, "error: "),
    ],
)
def test_errors_have_codes_and_names(
    run: Any, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    ran = run(*arguments)
    assert (ran.returncode, ran.stdout) == (code, ""), ran.stderr
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_gateway_that_is_not_there(run: Any) -> None:
    ran = run("echo", "x", url="http://127.0.0.1:1")
    assert ran.returncode == 1
    assert "cannot be reached" in ran.stderr


def test_tool_calls_are_lines(run: Any, tmp_path: Path) -> None:
    (tmp_path / "tools.json").write_text(json.dumps({"name": "f", "parameters": {}}))
    script = json.dumps({"tool_calls": [{"name": "f", "arguments": "{}"}]})
    assert run("echo", "--tools", "tools.json", script).stdout == "f({})\n"


def test_an_embedding_is_one_line_of_numbers(run: Any) -> None:
    vector = json.loads(run("echo-embedding", "a cat").stdout)
    about = json.loads(run("echo-embedding", "--json", text="a cat").stdout)
    assert about["embedding"] == vector
    assert about["dimensions"] == len(vector)


def test_an_image_is_written_and_never_over_another(run: Any, tmp_path: Path) -> None:
    assert run("echo-diffusion", "A red heart!").stdout == "a-red-heart.png\n"
    assert run("echo-diffusion", "A red heart!").stdout == "a-red-heart-2.png\n"
    assert (tmp_path / "a-red-heart.png").read_bytes()[:4] == b"\x89PNG"
    written = json.loads(run("echo-diffusion", "x", "-o", "b.png", "--json").stdout)
    assert (tmp_path / "b.png").stat().st_size == written["size_bytes"]


def test_parameters_of_images_and_of_answers_are_told_apart(run: Any, tmp_path: Path) -> None:
    assert run("echo-diffusion", "--set", "size=32x16", "-o", "small.png", "x").returncode == 0
    with Image.open(tmp_path / "small.png") as image:
        assert image.size == (32, 16)
    for model, setting, named in (
        ("echo-diffusion", "temperature=1", "no parameter 'temperature'"),
        ("echo", "size=32x16", "no parameter 'size'"),
        ("echo-embedding", "seed=1", "--set is not for echo-embedding"),
    ):
        ended = run(model, "--set", setting, "x")
        assert ended.returncode == 2
        assert named in ended.stderr
