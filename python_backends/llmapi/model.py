"""Runs the model code that NVIDIA's image carries; its settings are in model.yaml beside this.

If its `model` is a folder below the version's folder, that folder is used.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Any

_CODE = Path("/app/all_models/llmapi/tensorrt_llm/1")
if not (_CODE / "model.py").exists():
    raise RuntimeError(
        "TensorRT-LLM runs on a GPU, in NVIDIA's image tritonserver:YY.MM-trtllm-python-py3; "
        f"this server has no {_CODE}"
    )
sys.path.insert(0, str(_CODE))  # the code imports files next to it
_spec = importlib.util.spec_from_file_location("llmapi_model", _CODE / "model.py")
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = _module
_spec.loader.exec_module(_module)
TritonPythonModel = _module.TritonPythonModel
_read = getattr(_module, "get_model_config", None)


def _with_folder(*arguments: Any, **options: Any) -> Any:
    config = _read(*arguments, **options)  # type: ignore[misc]
    folder = Path(__file__).parent / str(config.get("model"))
    return {**config, "model": str(folder)} if "model" in config and folder.exists() else config


if _read is not None:
    _module.get_model_config = _with_folder  # type: ignore[attr-defined]
