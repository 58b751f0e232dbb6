"""Checks by name that a directory has all weights of the model that its config.json describes.

Used for copies, which do not load the weights. Without transformers only files and index are
compared. A model that transformers does not know is not checked: engines support more models.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from toolkit.convert.failures import refusing
from toolkit.convert.quiet import quiet
from toolkit.convert.safetensors_file import Tensor, listed, read_tensors
from toolkit.convert.settings_files import check_settings
from toolkit.errors import ConvertError

_SAME_NAMES = 0.9
"""Quantizers rename what is inside layers. Where fewer layers than this have their names, the
quantizer named layers otherwise, and nothing can be said."""


def check_complete(folder: Path, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Returns the directory's tensors. Raises ConvertError that names what is wrong."""
    tensors = read_tensors(folder)
    check_settings(folder)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    if tensors and (model := _model(folder, config)) is not None:
        strict, kind, about = model
        # a quantizer's tensors have shapes of their own, so only the layers' names can be compared
        if config.get("quantization_config") is not None:
            with _described(folder):
                expected = strict.published(kind, about)
            _check_layers(expected, set(shapes), folder)
        else:
            with _described(folder):
                strict.check_names(kind, about, shapes, folder)
    return tensors


def check_against_config(folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """The same for tensors that were read elsewhere; without config.json nothing is compared."""
    file = folder / "config.json"
    if not file.exists():
        return
    with refusing(f"{file} cannot be read"):
        config = json.loads(file.read_text())
        if not isinstance(config, dict):
            raise TypeError(f"it contains a {type(config).__name__}, not an object")
    if (model := _model(folder, config)) is not None:
        strict, kind, about = model
        with _described(folder):
            strict.check_names(kind, about, shapes, folder)


@contextmanager
def _described(folder: Path) -> Iterator[None]:
    """For making a model without weights: what fails then is in its settings."""
    what = f"config.json of {folder.name} does not describe a model that transformers can create"
    with quiet(), refusing(what, hint="compare it with the model's page"):
        yield


def _model(folder: Path, config: Mapping[str, Any]) -> tuple[Any, Any, Any] | None:
    """The module `strict`, the model's class and its config, if transformers knows them."""
    try:
        with quiet():
            strict: Any = import_module("toolkit.convert.strict")
    # a copy needs no transformers, and `toolkit build` copies without the extra
    except ImportError:
        return None
    if (kind := strict.declared_class(config)) is None:
        return None
    if (own := config.get("model_type")) not in strict.transformers.CONFIG_MAPPING:
        raise ConvertError(
            f"config.json of {folder.name}: model_type ({str(own)[:40]}) is not one of "
            f"transformers', which a {kind.__name__} has",
            hint=f"it should be '{kind.config_class.model_type}'",
        )
    # the model before it was quantized: the names of its layers are what can be compared
    plain = {key: value for key, value in config.items() if key != "quantization_config"}
    with refusing(f"{folder.name}: config.json does not describe a {kind.__name__}"), quiet():
        about = kind.config_class.from_dict(plain)
    return strict, kind, about


def _check_layers(expected: set[str], present: set[str], folder: Path) -> None:
    layers = {name.rpartition(".")[0] for name in expected}
    there = {name.rpartition(".")[0] for name in present}
    missing = sorted(layers - there)
    if missing and len(layers & there) >= _SAME_NAMES * len(layers):
        raise ConvertError(
            f"{folder.name} does not contain the weights of the model that its config.json"
            " describes; "
            f"missing: {listed(missing)}",
            hint="download the whole model again",
        )
