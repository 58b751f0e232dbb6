"""The toolkit's own models: the parameters that the gateway reads, and the files their steps need.

Only models with `toolkit.` parameters, and steps with a `python_backends` folder, are looked at.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from toolkit.names import close_matches
from toolkit.verify.model import Hit, Model
from toolkit.verify.problem import Effect
from toolkit.verify.rule import rule

_CAPABILITIES = {
    "llm": {"chat", "completion", "tools", "reasoning", "infill", "vision"},
    "embedding": {"embedding"},
    "rerank": {"rerank"},
    "diffusion": {"image"},
}
_NUMBERS = {
    "llm": ("toolkit.context_length",),
    "embedding": ("toolkit.context_length", "toolkit.dimensions"),
    "rerank": ("toolkit.context_length",),
}
_TEXT_BYTES = "toolkit.max_text_bytes"
_IMAGE = {"width", "height", "multiple_of", "max_size", "steps", "max_steps", "guidance"}
_REQUIRED: dict[str, dict[str, type]] = {
    "prompt": {"context_length": int},
    "tokenize": {"context_length": int},
    "vllm_engine": {"engine": dict},
    "denoise": {"image": dict},
}
_TOKENIZERS = {"prompt", "tokenize", "text_encoder"}
_GRAPHS = {"encoder", "text_encoder", "denoise", "decode"}
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")


def _parameter(model: Model, key: str) -> str | None:
    parameters = model.config.parameters
    return parameters[key].string_value if key in parameters else None


def _path(key: str) -> str:
    return f'parameters["{key}"].value.string_value'


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


@rule("toolkit-parameter", "Parameter that the gateway cannot read", Effect.FAILS)
def toolkit_parameter(model: Model) -> Iterator[Hit]:
    """Public models say what they are in `toolkit.*` parameters; the gateway knows nothing else.

    Contract version 1: kind, capabilities and aliases as JSON lists, numbers as digits.
    """
    kind = _parameter(model, "toolkit.kind")
    if kind is None and _parameter(model, "toolkit.contract") is None:
        return
    for key, fault in _faults(model, kind or ""):
        yield Hit(
            model.at(_path(key)),
            f"parameters[{key}]",
            fault,
            "build the repository again, or write the value by hand",
            "{target} loads the model; the gateway does not serve it",
        )


def _faults(model: Model, kind: str) -> Iterator[tuple[str, str]]:
    contract = _parameter(model, "toolkit.contract")
    if contract not in (None, "1"):
        yield "toolkit.contract", f"contract '{contract}' is not 1"
    if kind not in _CAPABILITIES:
        yield "toolkit.kind", f"kind '{kind}' is none of {', '.join(_CAPABILITIES)}"
        return
    for key in ("toolkit.aliases", "toolkit.capabilities"):
        names = _json(_parameter(model, key) or "[]")
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            yield key, f"{key} is not a JSON list of strings"
        elif key == "toolkit.capabilities" and (odd := set(names) - _CAPABILITIES[kind]):
            yield key, f"a model of kind {kind} has no capability '{min(odd)}'"
    for key in _NUMBERS.get(kind, ()):
        value = _parameter(model, key) or ""
        if not _is_count(value):
            yield key, f"{key} is '{value}', not a number above 0"
    bytes_at_most = _parameter(model, _TEXT_BYTES)
    if bytes_at_most is not None and not _is_count(bytes_at_most):
        yield _TEXT_BYTES, f"{_TEXT_BYTES} is '{bytes_at_most}', not a number above 0"
    if kind == "diffusion":
        image = _json(_parameter(model, "toolkit.image") or "")
        if not isinstance(image, dict) or not image.keys() >= _IMAGE:
            yield (
                "toolkit.image",
                f"toolkit.image is not a JSON object with {', '.join(sorted(_IMAGE))}",
            )
    cancel = _parameter(model, "toolkit.cancel")
    if cancel is not None and cancel not in model.neighbours:
        yield "toolkit.cancel", f"toolkit.cancel names '{cancel}', which is no model here"


def _is_count(value: str) -> bool:
    return value.isdigit() and int(value) > 0


def _kinds(model: Model) -> Iterator[tuple[str, Path]]:
    """Which of the toolkit's steps a model is, and the version's folder."""
    for folder in model.served_versions.values():
        own = folder / "python_backends"
        for each in sorted(own.iterdir()) if own.is_dir() else ():
            if each.is_dir() and not each.name.startswith("_"):
                yield each.name, folder


@rule("toolkit-step", "Step of the toolkit without its parameters", Effect.REFUSED)
def toolkit_step(model: Model) -> Iterator[Hit]:
    """The toolkit's steps read their parameters when they start, and end if one is malformed."""
    for kind, _ in _kinds(model):
        for key, wanted in _REQUIRED.get(kind, {}).items():
            value = _parameter(model, key)
            what = "a number" if wanted is int else "a JSON object"
            if value is None:
                fix = f'add parameters {{ key: "{key}" value {{ string_value: "…" }} }}'
                yield model.hit("parameters", f"a step of kind {kind} needs '{key}', {what}", fix)
            elif not isinstance(_json(value), wanted):
                text = f"parameter '{key}' is not {what}: {value}"
                yield model.hit(_path(key), text, f"write {what} in quotes")


@rule("toolkit-files", "Step of the toolkit without its files", Effect.REFUSED)
def toolkit_files(model: Model) -> Iterator[Hit]:
    """A step needs its tokenizer, graph or weights below the version's folder.

    They are not kept in git; `toolkit build-repo` puts them there.
    """
    for kind, folder in _kinds(model):
        if kind in _TOKENIZERS:
            tokenizer = folder / (_parameter(model, "tokenizer") or "tokenizer")
            if not any((tokenizer / name).is_file() for name in _TOKENIZER_FILES):
                yield _absent(model, folder, tokenizer, "tokenizer")
            elif kind == "prompt" and _chats(model) and not _template(tokenizer):
                yield model.hit_file(
                    tokenizer,
                    "this tokenizer has no chat template, and the model says it can chat",
                    "put a chat_template.jinja there, or take chat out of toolkit.capabilities",
                )
        if kind in _GRAPHS:
            graph = folder / (_parameter(model, "model") or "model.onnx")
            if not graph.exists():
                yield _absent(model, folder, graph, "graph")
        if kind == "vllm_engine" and (weights := _weights(model, folder)):
            yield _absent(model, folder, weights, "weights")


@rule("toolkit-target", "Step that was built for another server", Effect.REFUSED)
def toolkit_target(model: Model) -> Iterator[Hit]:
    """The toolkit's steps know the server that they were built for and refuse to load on another.

    Configs differ between servers: backends, placement, Python environments.
    """
    built = _parameter(model, "toolkit.target")
    if built is not None and built != model.target.name:
        command = f"toolkit build-repo --target {model.target.name}"
        text = f"'{model.name}' was built for the target '{built}', not '{model.target.name}'"
        yield model.hit(_path("toolkit.target"), text, f"run: {command}")


@rule("engine-argument", "Engine argument that vLLM does not know", Effect.REFUSED)
def engine_argument(model: Model) -> Iterator[Hit]:
    """vLLM refuses to start with an argument that its version does not have.

    Checked where the target's vLLM version is known: the toolkit's engines (parameter `engine`) and
    `model.json` of the backend vllm.
    """
    known = model.target.engine_arguments
    if known is None:
        return
    for place, arguments in _engines(model):
        for name in arguments:
            if name not in known:
                near = close_matches(name, known, 1, 0.6)
                text = f"vLLM {model.target.vllm} of {model.target.label} has no argument '{name}'"
                fix = f"did you mean '{near[0]}'?" if near else "remove it"
                if isinstance(place, Path):
                    yield model.hit_file(place, text, fix)
                else:
                    yield model.hit(place, text, fix)


def _engines(model: Model) -> Iterator[tuple[str | Path, dict[str, object]]]:
    """Where a model's engine arguments stand, and they."""
    if any(kind == "vllm_engine" for kind, _ in _kinds(model)):
        found = _json(_parameter(model, "engine") or "")
        if isinstance(found, dict):
            yield _path("engine"), found
    if model.served.backend == "vllm":
        for folder in model.served_versions.values():
            path = folder / "model.json"
            found = _json(path.read_text(errors="replace")) if path.is_file() else None
            if isinstance(found, dict):
                yield path, found


def _absent(model: Model, folder: Path, path: Path, what: str) -> Hit:
    name = path.relative_to(folder) if path.is_relative_to(folder) else path
    text = f"'{model.name}' has no {what} at {folder.name}/{name}"
    return model.hit_file(folder, text, "run: toolkit build-repo")


def _weights(model: Model, folder: Path) -> Path | None:
    engine = _json(_parameter(model, "engine") or "")
    name = engine.get("model") if isinstance(engine, dict) else None
    if not isinstance(name, str) or not name.startswith(("weights", "./")):
        return None
    return None if (folder / name).exists() else folder / name


def _chats(step: Model) -> bool:
    users = [
        model
        for model in step.neighbours.values()
        if any(each.model_name == step.name for each in model.config.ensemble_scheduling.step)
    ]
    return any('"chat"' in (_parameter(user, "toolkit.capabilities") or "") for user in users)


def _template(tokenizer: Path) -> bool:
    if (tokenizer / "chat_template.jinja").is_file() or (
        tokenizer / "chat_template.json"
    ).is_file():
        return True
    config = tokenizer / "tokenizer_config.json"
    return config.is_file() and '"chat_template"' in config.read_text(errors="replace")


RULES = (toolkit_parameter, toolkit_step, toolkit_files, toolkit_target, engine_argument)
