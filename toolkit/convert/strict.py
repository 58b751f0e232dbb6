"""Loads transformers models strictly: every weight comes from the file, and none is left out.

Invariant: a model that `load` returns has each of its parameters bit for bit as a second reading of
the safetensors files has it. The names and shapes of all tensors are checked before any is read.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open
from transformers import AutoConfig
from transformers.core_model_loading import revert_weight_conversion

from toolkit.convert.failures import refusing
from toolkit.convert.quiet import quiet
from toolkit.convert.safetensors_file import Tensor, listed, read_tensors
from toolkit.convert.settings_files import check_settings
from toolkit.errors import ConvertError

HARMLESS = re.compile(r"(^|\.)(position_ids|rotary_emb\.inv_freq|inv_freq|masked_bias)$")
"""Tables that models compute from their config, and that older libraries wrote into files."""
_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
)
_POOLER = re.compile(r"(^|\.)pooler\.dense\.(weight|bias)$")
"""The pooled state of the first token, which neither vectors nor scores of ours are made of."""


def load(
    kind: Any, folder: Path, dtype: Any = torch.float32, *, body: bool = False, **options: Any
) -> Any:
    """`kind.from_pretrained(folder)`, when the directory's tensors are the model's, all of them.

    With `body` the model is the common part of a family: heads for other tasks may be there, and
    the pooler may be missing. Raises ConvertError that names missing, unexpected and mismatched
    tensors.
    """
    tensors = read_tensors(folder)
    check_settings(folder)
    with refusing(f"{folder.name} cannot be loaded"), quiet():
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        check_names(kind, config, {t.name: t.shape for t in tensors.values()}, folder, body=body)
        model = kind.from_pretrained(
            folder, dtype=dtype, local_files_only=True, use_safetensors=True, **options
        )
        compare_with_files(model, folder, tensors)
        _refuse_two_heads(model, folder)
    return model.eval()


def check_names(
    kind: Any, config: Any, shapes: Mapping[str, Any], source: Path, *, body: bool = False
) -> None:
    """Compares names and shapes with the model that `config` describes, without reading weights.

    `kind` is a model class or an Auto class of transformers. Raises ConvertError, naming the
    tensors, if they differ.
    """
    if not shapes:
        raise ConvertError(
            f"{source} does not contain safetensors weights",
            hint="name a directory with *.safetensors; `toolkit convert --to safetensors` reads "
            "GGUF files and pickles",
        )
    kind = _class_of(kind, config)
    _check_sizes(config, source)
    # meta tensors have no memory: transformers compares all names without reading a weight
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    try:
        model, report = kind.from_pretrained(
            None,
            config=config,
            state_dict=state,
            output_loading_info=True,
            # reported, not raised: all differences are named in one message
            ignore_mismatched_sizes=True,
            device_map="meta",
        )
    except RuntimeError as error:  # parts of a stacked tensor are missing or differ in shape
        raise ConvertError(
            f"{source.name} does not contain the weights of the model that its config.json"
            " describes: "
            f"{_differences(kind, config, shapes) or error}",
            hint="download the whole model again",
        ) from error
    missing = set(report["missing_keys"])
    unexpected = {name for name in report["unexpected_keys"] if not HARMLESS.search(name)}
    if body:
        missing = {name for name in missing if not _POOLER.search(name)}
        unexpected = {name for name in unexpected if not _is_head(name, model, shapes)}
    unexpected = {name for name in unexpected if not _POOLER.search(name)}
    refuse_differences(source, missing, unexpected, report["mismatched_keys"])


def refuse_differences(
    source: Path, missing: set[str], unexpected: set[str], mismatched: Any = ()
) -> None:
    """Raises ConvertError when there is any."""
    shapes = [f"{name} {list(file)} instead of {list(model)}" for name, file, model in mismatched]
    wrong = [
        f"{what} {listed(sorted(names))}"
        for what, names in (
            ("missing:", missing),
            ("unexpected:", unexpected),
            ("of another shape:", shapes),
        )
        if names
    ]
    if wrong:
        raise ConvertError(
            f"{source.name} does not contain the weights of the model that its config.json"
            " describes; "
            f"{'; '.join(wrong)}",
            hint="download the whole model again; converting it would add or lose weights",
        )


def compare_with_files(model: Any, folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Compares each parameter with the bytes in the files. Raises ConvertError for a value that
    differs, is NaN or is infinite.

    Names are those that the library would write: it joins and renames tensors when it loads them.
    """
    # experts are stacked in the model and single in the files
    state = dict(revert_weight_conversion(model, model.state_dict()))
    prefix = f"{model.base_model_prefix}."
    checked: set[int] = set()
    for file in sorted({tensor.file for tensor in tensors.values()}):
        with safe_open(folder / file, framework="pt") as source:
            for name in source.keys():  # noqa: SIM118  not a mapping
                own = _own_name(name, state, prefix)
                if own is None:
                    continue
                value = source.get_tensor(name)
                if not state[own].isfinite().all():
                    raise ConvertError(
                        f"{folder.name}: {name} in {file} has values that are NaN or infinite",
                        hint="download the model again; the model cannot compute with these values",
                    )
                if not _same(state[own], value):
                    raise ConvertError(
                        f"{folder.name}: {name} differs between the loaded model and {file}",
                        hint="the library does not read this checkpoint as it was written",
                    )
                # by address: tied parameters are one tensor with two names, and files have either
                checked.add(state[own].data_ptr())
    unread = {
        name
        for name, value in state.items()
        if value.data_ptr() not in checked and value.numel() and not _is_computed(name, model)
    }
    refuse_differences(folder, {name for name in unread if not _POOLER.search(name)}, set())


def _same(loaded: torch.Tensor, stored: torch.Tensor) -> bool:
    tensor = loaded.detach().cpu()
    return tensor.shape == stored.shape and torch.equal(tensor, stored.to(tensor.dtype))


def _own_name(name: str, state: Mapping[str, Any], prefix: str) -> str | None:
    # bodies and whole models of a family read each other's files
    for own in (name, name.removeprefix(prefix), prefix + name):
        if own in state:
            return own
    return None


def _refuse_two_heads(model: Any, folder: Path) -> None:
    """Engines tie what config.json says is tied; transformers does not where values differ."""
    for target, source in model.get_expanded_tied_weights_keys(all_submodels=True).items():
        if model.get_parameter(target).data_ptr() != model.get_parameter(source).data_ptr():
            raise ConvertError(
                f"config.json of {folder.name} ties {target} to {source}, but the files contain "
                "two different ones",
                hint="if both belong to the model, set tie_word_embeddings to false",
            )


def _is_computed(name: str, model: Any) -> bool:
    """Buffers that the library computes, and tensors that it never expects in a file."""
    patterns = [*(model._keys_to_ignore_on_load_missing or ()), HARMLESS.pattern]
    return any(re.search(pattern, name) for pattern in patterns)


def _is_head(name: str, model: Any, shapes: Mapping[str, Any]) -> bool:
    """Whether a tensor belongs to the head of another task, not to the common part."""
    prefix = f"{model.base_model_prefix}."
    parts = any(each.startswith(prefix) for each in shapes)
    return parts and name in shapes and not name.startswith(prefix)


def _differences(kind: Any, config: Any, shapes: Mapping[str, Any]) -> str:
    """Names of the model's tensors as they are published against those of the files."""
    expected, tied = _published(kind, config)
    parts = {
        "missing:": sorted(set(expected) - set(shapes) - tied),
        "unexpected:": sorted(set(shapes) - set(expected)),
        "of another shape:": sorted(
            name for name in shapes if name in expected and expected[name].shape != shapes[name]
        ),
    }
    return "; ".join(f"{what} {listed(names)}" for what, names in parts.items() if names)


def _check_sizes(config: Any, source: Path) -> None:
    wrong = [
        f"{field} ({str(value)[:40]})"
        for field in _SIZES
        if (value := getattr(config, field, None)) is not None
        and not (isinstance(value, int) and value > 0)
    ]
    if wrong:
        raise ConvertError(
            f"config.json of {source.name}: {', '.join(wrong)} must be a number above 0"
        )


def _class_of(kind: Any, config: Any) -> Any:
    """The model class that an Auto class of transformers takes for a config; others themselves."""
    mapping = getattr(kind, "_model_mapping", None)
    if mapping is None:
        return kind
    if type(config) not in mapping:
        raise ConvertError(
            f"transformers has no {kind.__name__} of the type '{config.model_type}'",
            hint="correct `model_type` and `architectures` in config.json",
        )
    # one class, or several that share a config
    model_class = mapping[type(config)]
    known = model_class if isinstance(model_class, tuple) else (model_class,)
    names = config.architectures or []
    return next((each for each in known if each.__name__ in names), known[0])


def published(kind: Any, config: Any) -> set[str]:
    """The names under which a model's tensors are published, but those tied to others."""
    expected, tied = _published(kind, config)
    return set(expected) - tied


def _published(kind: Any, config: Any) -> tuple[dict[str, Any], set[str]]:
    with torch.device("meta"):
        model = kind._from_config(config)
    tied = set(getattr(model, "all_tied_weights_keys", ()))
    return dict(revert_weight_conversion(model, model.state_dict())), tied


def declared_class(config: Mapping[str, Any]) -> Any | None:
    """The class that a config.json names, if transformers has it."""
    names = config.get("architectures") or [""]
    declared = getattr(transformers, str(names[0]), None) if isinstance(names, list) else None
    return declared if hasattr(declared, "config_class") else None
