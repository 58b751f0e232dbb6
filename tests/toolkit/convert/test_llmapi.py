"""The repository for TensorRT-LLM: verified offline, and loaded as far as it goes without it."""

import json
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import tritonclient.grpc
from typer.testing import CliRunner

from tests.support.triton import serve
from toolkit.cli.app import app
from toolkit.convert.llmapi import NAME, write_repository

_HERE = 'parameters { key: "EXECUTION_ENV_PATH" value { string_value: "%s" } }'
_ENVIRONMENT = "$$TRITON_MODEL_DIRECTORY/../.environments/onnx"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    write_repository(tmp_path, {"max_position_embeddings": 2048})
    return tmp_path / "model_repository"


def for_this_server(repository: Path) -> Path:
    """The embedded server's Python is not the image's; only that is changed."""
    config = repository / NAME / "config.pbtxt"
    config.write_text(config.read_text() + _HERE % _ENVIRONMENT)
    return config.parent / "1" / "model.py"


def test_it_is_verified_offline(repository: Path) -> None:
    command = [
        "verify",
        str(repository),
        "--target",
        "container:26.07-trtllm",
        "--strict",
        "--json",
    ]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["findings"] == []


def test_a_server_without_it_refuses_with_the_reason(repository: Path, tmp_path: Path) -> None:
    for_this_server(repository)
    reason = "TensorRT-LLM runs on a GPU, in NVIDIA's image"
    with (
        pytest.raises(AssertionError, match=reason),
        serve(repository, [NAME], tmp_path / "scratch"),
    ):
        pytest.fail("it was loaded")


def test_the_code_of_the_image_runs_with_the_settings_here(
    repository: Path, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    image.mkdir()
    (image / "helpers.py").write_text("def shout(text):\n    return text.upper()\n")
    (image / "model.py").write_text(
        dedent(
            """
            from pathlib import Path
            import numpy as np
            import triton_python_backend_utils as pb_utils
            from helpers import shout

            class TritonPythonModel:
                def execute(self, requests):
                    settings = Path(pb_utils.get_model_dir(), "model.yaml").read_text()
                    said = shout(settings.splitlines()[1])
                    tensor = pb_utils.Tensor("text_output", np.array([said], dtype=object))
                    return [pb_utils.InferenceResponse([tensor]) for _ in requests]
            """
        )
    )
    model = for_this_server(repository)
    model.write_text(model.read_text().replace("/app/all_models/llmapi/tensorrt_llm/1", str(image)))
    with (
        serve(repository, [NAME], tmp_path / "scratch") as server,
        tritonclient.grpc.InferenceServerClient(server.grpc_address) as client,
    ):
        text = tritonclient.grpc.InferInput("text_input", [1], "BYTES")
        text.set_data_from_numpy(np.array(["hello"], dtype=object))
        answer = client.infer(NAME, [text], client_timeout=20)
    assert answer.as_numpy("text_output").item() == b"MODEL: /MODEL/CHECKPOINT"
