"""Finds values of the right type whose content vLLM refuses when the engine starts.

Names of sampling parameters, custom operations, connectors, buckets, classes to import, versions.
It follows vLLM 0.32; the names come from the version's own file.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

from toolkit.engine_arguments import Engine
from toolkit.engine_arguments.values import Misfit, names_of, number_misfit
from toolkit.names import nearest, shown

_SAMPLING = {
    "temperature": {"ge": 0, "le": 2},
    "top_p": {"gt": 0, "le": 1},
    "top_k": {"ge": -1},
    "min_p": {"ge": 0, "le": 1},
    "repetition_penalty": {"gt": 0},
    "presence_penalty": {"ge": -2, "le": 2},
    "frequency_penalty": {"ge": -2, "le": 2},
    "max_new_tokens": {"ge": 1},
}
"""Ranges of `SamplingParams._verify_args`: outside of them each request would be refused."""
_TOKENS = {"bos_token_id", "eos_token_id", "pad_token_id", "do_sample", "max_length"}
"""Settings of a `generation_config.json` that are not sampling parameters."""
_CLASSES = ("worker_cls", "worker_extension_cls", "scheduler_cls")


def refused_contents(arguments: Mapping[str, object], engine: Engine) -> Iterator[Misfit]:
    """Everything in `arguments` that this version of vLLM does not start with."""
    for name, check in _CHECKS.items():
        if (value := arguments.get(name)) is not None:
            yield from check(value, engine)
    for name in _CLASSES:
        value = arguments.get(name)
        if isinstance(value, str) and value not in ("", "auto") and "." not in value:
            text = f"is {shown(value)}, which is not the path of a class"
            yield (name,), text, "write `package.module.Class`"


def _generation(value: object, engine: Engine) -> Iterator[Misfit]:
    place = "override_generation_config"
    known = [*engine.sampling, *sorted(_TOKENS)]
    for name, item in _items(value):
        if name not in known:
            text = "is not a setting that vLLM applies"
            yield (place, name), text, nearest(name, known)
        elif name in _SAMPLING and item is not None:
            yield from number_misfit(item, _SAMPLING[name], (place, name))


def _custom_ops(value: object, _: Engine) -> Iterator[Misfit]:
    if not isinstance(value, Mapping) or not isinstance(value.get("custom_ops"), list):
        return
    place, ops = ("compilation_config", "custom_ops"), value["custom_ops"]
    for index, each in enumerate(ops):
        if isinstance(each, str) and each not in ("all", "none") and each[:1] not in ("+", "-"):
            text = (
                f"is {shown(each)}; it must be all, none, or the name of an operation after + or -"
            )
            yield (*place, index), text, f"write `+{each}` or `-{each}`"
    if len([each for each in ops if each in ("all", "none")]) > 1:
        yield place, "has both all and none, or one of them twice", "omit one of them"


def _passes(value: object, _: Engine) -> Iterator[Misfit]:
    """vLLM imports `a.b.f` and then looks for `f` in `a`."""
    place = ("compilation_config", "inductor_passes")
    for name, path in _items(value.get(place[1]) if isinstance(value, Mapping) else None):
        if not isinstance(path, str):
            continue  # its type is refused already
        module, _dot, function = path.partition(".")
        if not (module.isidentifier() and function.isidentifier()):
            text = f"is {shown(path)}, which is not the path of a function in a top-level module"
            yield (*place, name), text, "write `module.function`"


def _compilation(value: object, engine: Engine) -> Iterator[Misfit]:
    yield from _custom_ops(value, engine)
    yield from _passes(value, engine)


def _method(value: object, engine: Engine) -> Iterator[Misfit]:
    """vLLM's type is any text, and its check is whether the name is registered."""
    if isinstance(value, str) and "." in value:
        known = names_of(engine.arguments["quantization"])
        text = f"is {shown(value)}, which vLLM does not support"
        yield ("quantization",), text, nearest(value, known)


def _quantization(value: object, _: Engine) -> Iterator[Misfit]:
    if isinstance(value, Mapping) and not {"linear", "moe", "targets"} & value.keys():
        yield ("quantization_config",), "needs linear, moe or targets", "add one of them"


def _connector(name: str, prefix: str) -> Callable[[object, Engine], Iterator[Misfit]]:
    def check(value: object, engine: Engine) -> Iterator[Misfit]:
        field, role = f"{prefix}_connector", f"{prefix}_role"
        if not isinstance(value, Mapping) or value.get(field) is None:
            return
        known = engine.connectors.get(name, ())
        chosen = value[field]
        if known and chosen not in known and not value.get(f"{field}_module_path"):
            text = f"is {shown(chosen)}, which vLLM does not support"
            yield (name, field), text, nearest(str(chosen), known)
        if value.get(role) is None:
            yield (name,), f"needs `{role}`, as it has a connector", f"add `{role}: {prefix}_both`"

    return check


def _buckets(value: object, engine: Engine) -> Iterator[Misfit]:
    place = "custom_histogram_buckets"
    for family, bounds in _items(value):
        if engine.buckets and family not in engine.buckets:
            yield (place, family), "is not a family of buckets", nearest(family, engine.buckets)
        numbers = bounds if isinstance(bounds, list) else []
        if not all(isinstance(each, int | float) for each in numbers):
            continue  # its type is refused already
        if not numbers or numbers[0] <= 0 or any(a >= b for a, b in pairwise(numbers)):
            text = f"is {shown(bounds)}; the bounds must be more than 0 and increase"
            yield (place, family), text, None


def _version(value: object, _: Engine) -> Iterator[Misfit]:
    if isinstance(value, str) and not re.fullmatch(r"\d+(\.\d+)*", value):
        text = f"is {shown(value)}, which is not a version"
        yield ("show_hidden_metrics_for_version",), text, 'write for example "0.30"'


def _items(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        yield from ((str(name), item) for name, item in value.items())


_CHECKS: dict[str, Callable[[object, Engine], Iterator[Misfit]]] = {
    "override_generation_config": _generation,
    "compilation_config": _compilation,
    "quantization": _method,
    "quantization_config": _quantization,
    "kv_transfer_config": _connector("kv_transfer_config", "kv"),
    "ec_transfer_config": _connector("ec_transfer_config", "ec"),
    "custom_histogram_buckets": _buckets,
    "show_hidden_metrics_for_version": _version,
}
