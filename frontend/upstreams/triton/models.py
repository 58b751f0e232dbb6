"""Triton's model configs → the gateway's models. Pure.

A config that `toolkit` wrote says in its parameters what the model is; of all others the names of
their tensors say whether the gateway can use them (`plain`).
"""

import contextlib
import hashlib
import json
import logging
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tritonclient.grpc import model_config_pb2, service_pb2

from frontend.domain.models import Details, ImageLimits, Input, Model
from frontend.upstreams.declared import Declared, declare
from frontend.upstreams.patterns import WILDCARD
from frontend.upstreams.triton.plain.configs import Plain, read_plain, steps_of

CONTRACT = "1"
KEEP_ALIVE = "toolkit.keep_alive"
_LOADED_AS = "toolkit.generation"
_DETAILS = {"family", "parameters", "size_bytes", "quantization"}
_INPUTS = {
    "images": Input.IMAGES,
    "token_ids": Input.TOKEN_IDS,
    "stop_after": Input.PREVIEWS,
    "reply": Input.TOOLS,
}
"""Tensors that only some models have."""
_ENGINE = ("engine", "engine_cpu")
"""Parameters with vLLM's arguments; the later ones count more."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Served:
    """A public model, and what the client needs to know to call it."""

    model: Model
    engine: str | None
    """The step that takes cancel requests, where there is one."""
    tokenizer: str | None
    """The step that turns a prompt into token ids, where there is one."""
    shows_tokens: bool
    """Whether that step also returns texts."""
    tensors: frozenset[str]
    """Names of its inputs."""
    max_batch: int
    """Texts, or pairs, of one call at most."""
    own: str = ""
    """Its name in Triton."""
    plain: Plain | None = None
    """Its tensors, if another builder made it."""
    version: str = ""
    """The version that requests name; none: Triton takes the newest one that is loaded."""


def read_models(
    configs: Iterable[model_config_pb2.ModelConfig],
    declared: Mapping[str, Declared] | None = None,
    versions: Mapping[str, Sequence[str]] | None = None,
) -> list[Served]:
    """The public models among all that are loaded.

    `declared`: what the operator says about models by their names in Triton; with it only these.
    `versions`: the loaded versions of each, the newest last; of several each is a model, too.
    """
    loaded = {one.name: one for one in configs}
    declared = declared or {}
    showing = {name for name, one in loaded.items() if any(t.name == "text" for t in one.output)}
    steps, found = steps_of(loaded.values()), []
    for name, config in loaded.items():
        if declared and name not in declared:
            continue
        facts = declared.get(name)
        if (served := read_model(config, showing)) is not None:
            model = served.model if facts is None else declare(served.model, facts)
            found.append(replace(served, model=model))
        # a step of ours has parameters; one of an ensemble is not asked for by itself
        elif facts is None and (name in steps or _is_ours(config)):
            continue
        elif (read := read_plain(config, loaded, facts)) is not None:
            found.append(_served(config, *read))
    whole = (_with_revision(one, loaded) for one in found)
    numbers = versions or {}
    return [each for one in whole for each in _versions(one, loaded, numbers.get(one.own, ()))]


def _versions(
    served: Served, loaded: Mapping[str, model_config_pb2.ModelConfig], numbers: Sequence[str]
) -> list[Served]:
    """The model, and each of its versions if several are loaded. Those of an ensemble all run the
    same steps, as its config names their versions."""
    model = served.model
    if not numbers or loaded[served.own].ensemble_scheduling.step:
        return [served]
    # the config is the same for all versions, and the weights are not
    newest = replace(model, revision=f"{model.revision}@{numbers[-1]}")
    if len(numbers) == 1:
        return [replace(served, model=newest)]
    made = [replace(served, model=newest)]
    for number in numbers:
        one = replace(
            model,
            name=f"{model.name}@{number}",
            aliases=(),
            patterns=(),
            version_of=model.name,
            revision=f"{model.revision}@{number}",
        )
        plain = served.plain and replace(served.plain, version=number)
        made.append(replace(served, model=one, version=number, plain=plain))
    return made


def new_request(served: Served, request_id: str) -> service_pb2.ModelInferRequest:
    """A request to a model, or to one of its versions."""
    return service_pb2.ModelInferRequest(
        model_name=served.own, model_version=served.version, id=request_id
    )


def _with_revision(served: Served, loaded: Mapping[str, model_config_pb2.ModelConfig]) -> Served:
    """Its revision changes with the weights and with every config: steps, adapters, limits."""
    config = loaded[served.own]
    steps = sorted({step.model_name for step in config.ensemble_scheduling.step} & loaded.keys())
    digest = hashlib.sha256()
    for name in (served.own, *steps):
        copy = model_config_pb2.ModelConfig()
        copy.CopyFrom(loaded[name])
        # what a restart of its process changes makes no other model of it
        copy.parameters.pop(_LOADED_AS, None)
        digest.update(copy.SerializeToString(deterministic=True))
    return replace(served, model=replace(served.model, revision=digest.hexdigest()))


def slots_of(configs: Iterable[model_config_pb2.ModelConfig]) -> int | None:
    """The requests that every language model runs at once, where their configs say it."""
    found = [slots for config in configs if (slots := _slots(config)) is not None]
    return min(found, default=None)


def _slots(config: model_config_pb2.ModelConfig) -> int | None:
    if any(one.name == "request_output_len" for one in config.input):
        return config.max_batch_size or None  # of TensorRT-LLM's engine
    values = {key: value.string_value for key, value in config.parameters.items()}
    if not any(key.startswith("toolkit.") for key in values) or "engine" not in values:
        return None
    with contextlib.suppress(ValueError, TypeError):
        said = [json.loads(values[key]) for key in _ENGINE if key in values]
        counts = [one["max_num_seqs"] for one in said if "max_num_seqs" in one]
        return int(counts[-1]) if counts else None
    return None


def _is_ours(config: model_config_pb2.ModelConfig) -> bool:
    return any(key.startswith("toolkit.") for key in config.parameters)


def _served(config: model_config_pb2.ModelConfig, model: Model, plain: Plain) -> Served:
    most = max(1, config.max_batch_size) if plain.batched else 1024
    return Served(model, None, None, False, frozenset(plain.inputs), most, config.name, plain)


def read_model(
    config: model_config_pb2.ModelConfig, showing: Collection[str] = ()
) -> Served | None:
    """What a config says about a public model; None for any other, or an unreadable one.

    `showing`: the models that have an output `text`.
    """
    values = {key: value.string_value for key, value in config.parameters.items()}
    if not values.get("toolkit.kind"):
        return None
    # tensors of another contract have other fields, and calls would fail one by one
    if values.get("toolkit.contract") != CONTRACT:
        _log.warning(
            "%s: this gateway does not support contract version %s",
            config.name,
            values.get("toolkit.contract"),
        )
        return None
    tensors = frozenset(tensor.name for tensor in config.input)
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return Served(
            model=_model(config.name, values, tensors),
            engine=values.get("toolkit.cancel") or None,
            tokenizer=_tokenizer(config),
            shows_tokens=_tokenizer(config) in showing,
            tensors=tensors,
            max_batch=max(1, config.max_batch_size),
            own=config.name,
        )
    _log.warning("the toolkit parameters of %s cannot be read", config.name)
    return None


def _model(name: str, values: dict[str, str], tensors: frozenset[str]) -> Model:
    aliases: list[str] = json.loads(values.get("toolkit.aliases") or "[]")
    return Model(
        name=name,
        kind=values["toolkit.kind"],
        aliases=tuple(alias for alias in aliases if WILDCARD not in alias),
        patterns=tuple(alias for alias in aliases if WILDCARD in alias),
        capabilities=frozenset(json.loads(values.get("toolkit.capabilities") or "[]")),
        context_length=_integer(values.get("toolkit.context_length")),
        dimensions=_integer(values.get("toolkit.dimensions")),
        image=_image(values.get("toolkit.image")),
        owned_by=values.get("toolkit.owned_by") or "triton",
        created_s=_integer(values.get("toolkit.created")) or 0,
        accepts=frozenset(_INPUTS[name] for name in tensors & _INPUTS.keys()),
        matryoshka=frozenset(map(int, json.loads(values.get("toolkit.matryoshka") or "[]"))),
        normalized=values.get("toolkit.normalized") != "false",
        max_text_bytes=_integer(values.get("toolkit.max_text_bytes")),
        details=_details(values),
        keep_s=_keep_s(values.get(KEEP_ALIVE)),
    )


def _tokenizer(config: model_config_pb2.ModelConfig) -> str | None:
    for step in config.ensemble_scheduling.step:
        if set(step.input_map) == {"prompt"} and "token_ids" in step.output_map:
            return str(step.model_name)
    return None


def _integer(text: str | None) -> int | None:
    return int(text) if text else None


def _keep_s(text: str | None) -> float | None:
    """Seconds; a negative number is infinite."""
    if not text:
        return None
    seconds = float(text)
    return seconds if seconds >= 0 else math.inf


def _details(values: dict[str, str]) -> Details:
    known = json.loads(values.get("toolkit.details") or "{}")
    digest = values.get("toolkit.digest", "").removeprefix("sha256:")
    return Details(**{n: known[n] for n in known.keys() & _DETAILS}, digest=digest)


def _image(text: str | None) -> ImageLimits | None:
    if not text:
        return None
    known: dict[str, Any] = json.loads(text)
    return ImageLimits(**{name: known[name] for name in ImageLimits.__dataclass_fields__})


@dataclass(slots=True)
class Restarts:
    """Tells a model that was loaded again after its process died from one that stayed."""

    _loaded_as: dict[str, str] = field(default_factory=dict)

    def see(self, configs: Iterable[model_config_pb2.ModelConfig]) -> list[str]:
        """The models that died and are back since the last call."""
        restarted = []
        for config in configs:
            # asking a map of protobuf for a key adds it
            known = _LOADED_AS in config.parameters
            name = config.name
            loaded_as = config.parameters[_LOADED_AS].string_value if known else ""
            if loaded_as and self._loaded_as.get(name, loaded_as) != loaded_as:
                restarted.append(name)
            if loaded_as or name not in self._loaded_as:
                self._loaded_as[name] = loaded_as
        return restarted
