"""The Triton model repository of a TensorRT-LLM checkpoint, in the layout of its LLM API.

`model_repository/tensorrt_llm/` has the config, `1/model.yaml` (what `tensorrt_llm.LLM` gets) and a
`model.py` that runs the code in NVIDIA's image (python_backends/llmapi). An entry with
`engine: tensorrt-llm` in models.yaml builds the same model behind the toolkit's contract.
"""

import shlex
import shutil
from pathlib import Path
from typing import Any

from toolkit.backends import backend_files
from toolkit.kinds.llm.tensorrt_llm import STEP as NAME
from toolkit.kinds.llm.tensorrt_llm import llmapi_step, model_yaml
from toolkit.repository.parts import model_config
from toolkit.repository.pbtxt import generate
from toolkit.targets import find_target, newest_trtllm

TARGET = find_target(newest_trtllm())
IMAGE = str(TARGET.image)
_MOST_TOKENS = 8192


def write_repository(place: Path, config: dict[str, Any]) -> None:
    """Writes `model_repository/` and `serve.sh` beside the `checkpoint/` with this config.json."""
    folder = place / "model_repository" / NAME
    version = folder / "1"
    version.mkdir(parents=True)
    (folder / "config.pbtxt").write_text(generate(model_config(llmapi_step(NAME), TARGET)))
    for name, source in backend_files("llmapi").items():
        (version / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, version / name)
    length = min(int(config.get("max_position_embeddings", _MOST_TOKENS)), _MOST_TOKENS)
    # the path inside the container, where `command` mounts the directory
    (version / "model.yaml").write_text(model_yaml("/model/checkpoint", length, {}))
    (place / "serve.sh").write_text(
        "#!/usr/bin/env bash\n"
        f"# Runs inside {IMAGE}; `command` in conversion.json starts it.\n"
        "exec tritonserver --model-repository=/model/model_repository\n"
    )


def command(place: Path) -> str:
    """The command that serves the directory on a host with a GPU."""
    mount = shlex.quote(f"{place.absolute()}:/model")
    return (
        f"docker run --rm --gpus all --network host --shm-size=2g -v {mount} "
        f"{IMAGE} bash /model/serve.sh"
    )
