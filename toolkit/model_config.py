"""Triton's model configuration messages, as `model_config.proto` defines them.

They are tritonclient's. Its package `tritonclient.grpc` imports gRPC, NumPy and the whole client
(0.17 s of CPU), which a command that only reads files does not need, so the generated module is
loaded from its file without the package around it.
"""

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import (
        TYPE_FP32,
        TYPE_INT32,
        TYPE_INT64,
        TYPE_INVALID,
        TYPE_STRING,
        TYPE_UINT32,
        TYPE_UINT64,
        BatchInput,
        BatchOutput,
        DataType,
        ModelConfig,
        ModelDynamicBatching,
        ModelEnsembling,
        ModelInput,
        ModelInstanceGroup,
        ModelOutput,
        ModelParameter,
        ModelQueuePolicy,
        ModelRateLimiter,
        ModelSequenceBatching,
        ModelWarmup,
    )

__all__ = [
    "TYPE_FP32",
    "TYPE_INT32",
    "TYPE_INT64",
    "TYPE_INVALID",
    "TYPE_STRING",
    "TYPE_UINT32",
    "TYPE_UINT64",
    "BatchInput",
    "BatchOutput",
    "DataType",
    "ModelConfig",
    "ModelDynamicBatching",
    "ModelEnsembling",
    "ModelInput",
    "ModelInstanceGroup",
    "ModelOutput",
    "ModelParameter",
    "ModelQueuePolicy",
    "ModelRateLimiter",
    "ModelSequenceBatching",
    "ModelWarmup",
]


def _load() -> ModuleType:
    package = find_spec("tritonclient")
    assert package is not None
    assert package.submodule_search_locations
    path = Path(package.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = spec_from_file_location("toolkit._model_config_pb2", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if not TYPE_CHECKING:
    globals().update(vars(_load()))
