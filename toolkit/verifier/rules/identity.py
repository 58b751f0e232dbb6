"""Name and backend: what the model is called and what runs it."""

from collections.abc import Iterator

from toolkit.names import close_matches
from toolkit.targets import KNOWN_BACKENDS, with_backend
from toolkit.verifier.backends import PLATFORMS, USUAL_NAMES
from toolkit.verifier.finding import Effect, ModelFinding, draft
from toolkit.verifier.model import Model
from toolkit.verifier.rule import rule

_GONE, _HAD_IT = "tensorflow", "container:25.02"
"""A backend that containers no longer include, and the last release that includes it."""


@rule("name-mismatch", "Name differs from the folder", Effect.REFUSED)
def name_mismatch(model: Model) -> Iterator[ModelFinding]:
    """`name` must be exactly the name of the folder; it may also be omitted."""
    name = model.config.name
    if name and name != model.name:
        yield model.finding(
            "name",
            f"name is '{name}', but the folder is '{model.name}'",
            f'write name: "{model.name}", or rename the folder to {name}',
        )


@rule("backend", "Backend not available on this target", Effect.REFUSED)
def backend(model: Model) -> Iterator[ModelFinding]:
    """`backend`, `platform` or a file name must tell the server which backend runs the model.

    The embedded server has only the Python backend. Of NVIDIA's images, `-py3` has onnxruntime and
    others but no engine, `-vllm-python-py3` has only vllm and python, and `-trtllm-python-py3` has
    only tensorrtllm and python. A custom backend is found if its library is in the folder of the
    model or of a version; for containers, see `custom-backend`.
    """
    if model.is_ensemble:
        yield from _ensemble(model)
        return
    served, names = model.served, sorted(model.target.backends)
    if not served.backend:
        platform = model.config.platform
        # stricter than for a backend's name: a platform may be anything
        near = _meant(platform, names, 0.8)
        yield model.finding(
            "platform" if platform else "backend",
            f"unknown platform '{platform}'"
            if platform
            else "neither backend nor platform is set, and the files do not identify the backend",
            f'write backend: "{near}" instead'
            if near
            else f'write backend: "python" (available on this target: {", ".join(names)})',
        )
    elif served.backend not in model.target.backends and not _may_be_custom(model):
        near = _meant(served.backend, names, 0.6)
        fix = f"use one of {', '.join(names)}, or choose another --target"
        if served.backend == _GONE:
            fix = f"convert the model to ONNX, or use --target {_HAD_IT}"
        # before spelling: a backend that another image has is not misspelt
        elif others := with_backend(model.target.release, served.backend):
            fix = f"use a target that has it: {', '.join(others)}"
        elif near and near != served.backend:
            fix = f"did you mean '{near}'?"
        text = f"the target {model.target.name} has no backend '{served.backend}'"
        yield model.finding(_where(model), text, fix)


def _meant(name: str, known: list[str], cutoff: float) -> str:
    """The backend that `name` is an alias or a misspelling of; "" if there is none."""
    if USUAL_NAMES.get(name) in known:
        return USUAL_NAMES[name]
    near = close_matches(name.lower(), known, 1, cutoff)
    return near[0] if near else ""


@rule("custom-backend", "Backend that the container does not include", Effect.RISK)
def custom_backend(model: Model) -> Iterator[ModelFinding]:
    """The container does not include this backend, and its library is not in the repository.

    The model works if `libtriton_NAME.so`, or the `model.py` of a Python-based backend, is in the
    server's backend folder.
    """
    served = model.served
    known = not served.backend or served.backend in model.target.backends
    if not model.is_ensemble and not known and _may_be_custom(model) and not _own_library(model):
        yield model.finding(
            _where(model),
            f"the container does not include the backend '{served.backend}'",
            f"add it to the server's backends/{served.backend} folder",
        )


def _where(model: Model) -> str:
    if model.config.backend:
        return "backend"
    return "platform" if model.config.platform else "name"


def _may_be_custom(model: Model) -> bool:
    """Whether the server may have this backend: not if it is misspelled or was removed."""
    name = model.served.backend
    if _own_library(model):
        return True
    misspelled = _meant(name, sorted(model.target.backends), 0.8)
    gone = name in KNOWN_BACKENDS or name == _GONE or model.served.platform == "custom"
    # the embedded server's backend folder is the toolkit's own and holds only `python`
    return not model.target.embedded and not misspelled and not gone


def _ensemble(model: Model) -> Iterator[ModelFinding]:
    config = model.config
    if config.platform != "ensemble" and config.backend != "ensemble":
        return  # `ensemble-config` reports this
    if config.backend:
        yield model.finding(
            "backend",
            f"an ensemble must not set backend; it is '{config.backend}'",
            'remove backend and write platform: "ensemble"',
        )


def _own_library(model: Model) -> bool:
    name = f"libtriton_{model.served.backend}.so"
    places = [model.folder, *model.versions.values(), model.folder.parent.parent / "backends"]
    return any((each / name).exists() for each in places)


@rule("runtime", "Runtime library not found", Effect.REFUSED)
def runtime(model: Model) -> Iterator[ModelFinding]:
    """`runtime` names the backend's library, or the `model.py` of a Python-based backend.

    The default is the backend's own library, which is nearly always correct.
    """
    name = model.config.runtime
    own = {f"libtriton_{model.served.backend}.so", ""}
    places = [model.folder, *model.versions.values()]
    # a container's folders cannot be looked into
    if model.target.embedded and name not in own and not any((p / name).exists() for p in places):
        text = f"the library '{name}' does not exist"
        yield model.finding("runtime", text, "remove the line")


@rule("platform-pair", "Platform and backend do not match", Effect.IGNORED)
def platform_pair(model: Model) -> Iterator[ModelFinding]:
    """`platform` names another backend than `backend`.

    For TensorRT, ONNX Runtime, PyTorch and TensorFlow the server refuses any other platform than
    their own. Other backends ignore the platform.
    """
    config = model.config
    platform, backend = config.platform, config.backend
    meant = PLATFORMS.get(platform)
    strict = backend in PLATFORMS.values() and not platform.startswith("torch")
    if not platform or not backend or backend in {meant, "tensorrtllm"} or not (meant or strict):
        return
    owner = f"belongs to the backend {meant}, not" if meant else "is not a platform of the backend"
    yield draft(
        model.at("platform"),
        f"platform '{platform}' {owner} {backend}",
        "remove the platform",
        effect=Effect.REFUSED if strict else None,
    )


RULES = (name_mismatch, backend, custom_backend, runtime, platform_pair)
