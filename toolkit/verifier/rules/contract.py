"""The toolkit's own models: the parameters that the gateway reads and the files that steps need.

Only models with `toolkit.` parameters and steps with a `python_backends` folder are checked.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from toolkit import contract
from toolkit.contract import BACKENDS, GRAPH, INTERFACES, TOKENIZER, WEIGHTS, Backend
from toolkit.engine_arguments import engine
from toolkit.engine_arguments.together import contradictions
from toolkit.engine_arguments.values import misfits
from toolkit.names import nearest
from toolkit.verifier.finding import Effect, ModelFinding, draft
from toolkit.verifier.model import Model
from toolkit.verifier.rule import rule

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
def toolkit_parameter(model: Model) -> Iterator[ModelFinding]:
    """The gateway learns what a public model is only from its `toolkit.*` parameters.

    In contract version 1 capabilities and aliases are JSON lists, and numbers are digits.
    """
    kind = _parameter(model, contract.KIND)
    # not one of the toolkit's models
    if kind is None and _parameter(model, contract.CONTRACT) is None:
        return
    for key, text in _wrong(model, kind or ""):
        yield draft(
            replace(model.at(_path(key)), field=f"parameters[{key}]"),
            text,
            "build the repository again, or correct the value",
            "{target} loads the model; the gateway does not serve it",
        )


def _wrong(model: Model, kind: str) -> Iterator[tuple[str, str]]:
    version = _parameter(model, contract.CONTRACT)
    if version not in (None, str(contract.VERSION)):
        text = f"contract version '{version}' is not supported; this toolkit supports "
        yield contract.CONTRACT, f"{text}{contract.VERSION}"
    if (interface := INTERFACES.get(kind)) is None:
        yield contract.KIND, f"kind '{kind}' is not one of {', '.join(INTERFACES)}"
        return
    for key in (contract.ALIASES, contract.CAPABILITIES):
        names = _json(_parameter(model, key) or "[]")
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            yield key, f"{key} is not a JSON list of strings"
        elif key == contract.CAPABILITIES:
            for name in sorted(set(names) - set(interface.known_capabilities))[:1]:
                yield key, f"a model of kind {kind} cannot have the capability '{name}'"
    optional = _parameter(model, contract.MAX_TEXT_BYTES) is not None
    for key in (*interface.numbers, *((contract.MAX_TEXT_BYTES,) if optional else ())):
        value = _parameter(model, key) or ""
        if not _is_count(value):
            yield key, f"{key} is '{value}'; expected a number above 0"
    if interface.has_image:
        image = _json(_parameter(model, contract.IMAGE) or "")
        if not isinstance(image, dict) or not image.keys() >= contract.IMAGE_LIMITS:
            fields = ", ".join(sorted(contract.IMAGE_LIMITS))
            yield contract.IMAGE, f"{contract.IMAGE} is not a JSON object with {fields}"
    keep_alive = _parameter(model, contract.KEEP_ALIVE)
    if keep_alive is not None and not _is_number(keep_alive):
        yield contract.KEEP_ALIVE, f"{contract.KEEP_ALIVE} is '{keep_alive}'; expected seconds"
    for alias in _aliases(model):
        if alias.count("*") > 1:
            yield contract.ALIASES, f"the alias '{alias}' has more than one '*'"
    cancel = _parameter(model, contract.CANCEL)
    # without it the gateway cannot stop a request: ensembles do not pass cancellation on
    if cancel is not None and cancel not in model.neighbours:
        text = f"{contract.CANCEL} names '{cancel}', which is not a model in this repository"
        yield contract.CANCEL, text


def _aliases(model: Model) -> list[str]:
    names = _json(_parameter(model, contract.ALIASES) or "[]")
    return [each for each in names if isinstance(each, str)] if isinstance(names, list) else []


def _is_number(value: str) -> bool:
    return re.fullmatch(r"-?\d{1,9}(\.\d{1,9})?", value) is not None


def _is_count(value: str) -> bool:
    return value.isdigit() and int(value) > 0


def _needs(backend: str) -> Backend:
    """What a step of that folder needs; nothing for one that is not the toolkit's."""
    return BACKENDS.get(backend, Backend(()))


def _kinds(model: Model) -> Iterator[tuple[str, Path]]:
    """The toolkit's steps in each served version: kind and folder."""
    for folder in model.served_versions.values():
        own = folder / "python_backends"
        for each in sorted(own.iterdir()) if own.is_dir() else ():
            if each.is_dir() and not each.name.startswith("_"):
                yield each.name, folder


@rule("toolkit-step", "Toolkit step without its parameters", Effect.REFUSED)
def toolkit_step(model: Model) -> Iterator[ModelFinding]:
    """The toolkit's steps read their parameters when they start, and fail if one is malformed."""
    for kind, _ in _kinds(model):
        for key, expected in _needs(kind).parameters.items():
            value = _parameter(model, key)
            what = "a number" if expected is int else "a JSON object"
            if value is None:
                fix = f'add parameters {{ key: "{key}" value {{ string_value: "…" }} }}'
                yield model.finding(
                    "parameters", f"a step of kind {kind} needs the parameter '{key}', {what}", fix
                )
            elif not isinstance(_json(value), expected):
                text = f"parameter '{key}' is not {what}: {value}"
                yield model.finding(_path(key), text, f"write {what} as a quoted string")


@rule("toolkit-files", "Toolkit step without its files", Effect.REFUSED)
def toolkit_files(model: Model) -> Iterator[ModelFinding]:
    """A step needs its tokenizer, graph or weights in the version folder.

    They are not in git; `toolkit build-repo` creates them.
    """
    for kind, folder in _kinds(model):
        needs = _needs(kind).files
        if TOKENIZER in needs:
            tokenizer = folder / (_parameter(model, "tokenizer") or "tokenizer")
            if not any((tokenizer / name).is_file() for name in _TOKENIZER_FILES):
                yield _absent(model, folder, tokenizer, "tokenizer")
            elif kind == "prompt" and _chats(model) and not _template(tokenizer):
                yield model.file_finding(
                    tokenizer,
                    "the tokenizer has no chat template, but the model has the capability 'chat'",
                    "add a chat_template.jinja, or remove chat from toolkit.capabilities",
                )
        if GRAPH in needs:
            graph = folder / (_parameter(model, "model") or GRAPH)
            if not graph.exists():
                yield _absent(model, folder, graph, "graph")
        if WEIGHTS in needs and (weights := _weights(model, folder)):
            yield _absent(model, folder, weights, "weights")


@rule("toolkit-target", "Step built for another server", Effect.REFUSED)
def toolkit_target(model: Model) -> Iterator[ModelFinding]:
    """A toolkit step loads only on the server that it was built for.

    Configs differ between servers: backends, placement, Python environments.
    """
    built = _parameter(model, contract.TARGET)
    if built is not None and built != model.target.name:
        command = f"toolkit build-repo --target {model.target.name}"
        text = f"'{model.name}' was built for the target '{built}', not '{model.target.name}'"
        yield model.finding(_path(contract.TARGET), text, f"run: {command}")


@rule("engine-argument", "vLLM engine argument that is refused", Effect.REFUSED)
def engine_argument(model: Model) -> Iterator[ModelFinding]:
    """vLLM does not start with an argument or a value that its version does not take.

    Checked if the vLLM version of the target is known, for the toolkit's engines (parameters
    `engine`, `toolkit.tool_parser` and `toolkit.reasoning_parser`) and for `model.json` of the vLLM
    backend.
    """
    # other releases may have other arguments
    if model.target.vllm is None:
        return
    vllm = engine(model.target.vllm)
    for place, arguments in _engines(model):
        length = arguments.get("max_model_len")
        found = list(misfits(arguments, vllm))
        # contradictions between values mean little while one of them is wrong
        if isinstance(length, int) and not found:
            found += contradictions(arguments, length)
        for at, problem, fix in found:
            name = ".".join(map(str, at))
            text = f"engine argument '{name}': {problem} (vLLM of {model.target.label})"
            hint = fix or "correct the value"
            if isinstance(place, Path):
                yield model.file_finding(place, text, hint)
            else:
                yield model.finding(place, text, hint)
    for key, known in (
        ("toolkit.tool_parser", vllm.tool_parsers),
        ("toolkit.reasoning_parser", vllm.reasoning_parsers),
    ):
        if (parser := _parameter(model, key)) and parser not in known:
            text = f"vLLM {vllm.version} of {model.target.label} has no parser '{parser}'"
            yield model.finding(_path(key), text, nearest(parser, known))


def _engines(model: Model) -> Iterator[tuple[str | Path, dict[str, object]]]:
    """A model's engine arguments, each set with the file or field that contains it."""
    if any(kind == "vllm_engine" for kind, _ in _kinds(model)):
        arguments = _json(_parameter(model, "engine") or "")
        if isinstance(arguments, dict):
            yield _path("engine"), arguments
    if model.served.backend == "vllm":
        for folder in model.served_versions.values():
            path = folder / "model.json"
            arguments = _json(path.read_text(errors="replace")) if path.is_file() else None
            if isinstance(arguments, dict):
                yield path, arguments


def _absent(model: Model, folder: Path, path: Path, what: str) -> ModelFinding:
    name = path.relative_to(folder) if path.is_relative_to(folder) else path
    text = f"'{model.name}' has no {what} at {folder.name}/{name}"
    return model.file_finding(folder, text, "run: toolkit build-repo")


def _weights(model: Model, folder: Path) -> Path | None:
    engine = _json(_parameter(model, "engine") or "")
    name = engine.get("model") if isinstance(engine, dict) else None
    # any other text may be a name on the Hub, or an absolute path of the serving machine
    if not isinstance(name, str) or not name.startswith(("weights", "./")):
        return None
    return None if (folder / name).exists() else folder / name


def _chats(step: Model) -> bool:
    users = [
        model
        for model in step.neighbours.values()
        if any(each.model_name == step.name for each in model.config.ensemble_scheduling.step)
    ]
    # the capability is the ensemble's, the tokenizer its step's
    return any('"chat"' in (_parameter(user, contract.CAPABILITIES) or "") for user in users)


def _template(tokenizer: Path) -> bool:
    if (tokenizer / "chat_template.jinja").is_file() or (
        tokenizer / "chat_template.json"
    ).is_file():
        return True
    config = tokenizer / "tokenizer_config.json"
    return config.is_file() and '"chat_template"' in config.read_text(errors="replace")


RULES = (toolkit_parameter, toolkit_step, toolkit_files, toolkit_target, engine_argument)
