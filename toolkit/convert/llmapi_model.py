"""Runs the model code that NVIDIA's image carries; its settings are in model.yaml beside this.

Copied as `model.py` beside the weights that `toolkit convert --to tensorrt-llm` writes.
"""

import importlib.util
import sys
from pathlib import Path

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
