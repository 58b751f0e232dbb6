"""Name and backend: what the model is called and what runs it."""

from collections.abc import Iterator

from toolkit.names import close_matches
from toolkit.targets import KNOWN_BACKENDS, with_backend
from toolkit.verify.backends import PLATFORMS, USUAL_NAMES
from toolkit.verify.model import Hit, Model
from toolkit.verify.problem import Effect
from toolkit.verify.rule import rule

_GONE, _HAD_IT = "tensorflow", "container:25.02"
"""A backend that containers brought once, and the last one that did."""


@rule("name-mismatch", "Name differs from the folder", Effect.REFUSED)
def name_mismatch(model: Model) -> Iterator[Hit]:
    """`name` must be the folder's name, letter for letter, or be left out."""
    name = model.config.name
    if name and name != model.name:
        yield model.hit(
            "name",
            f"the config says '{name}', the folder is called '{model.name}'",
            f'write name: "{model.name}", or rename the folder to {name}',
        )


@rule("backend", "No backend that this target has", Effect.REFUSED)
def backend(model: Model) -> Iterator[Hit]:
    """The server must know what runs the model: `backend`, a `platform`, or a file that tells.

    The embedded server has the Python backend only. Of NVIDIA's images `-py3` has
    onnxruntime and others but no engine, `-vllm-python-py3` has vllm and python only, and
    `-trtllm-python-py3` has tensorrtllm and python only. A backend of your own is found when its
    library is in the model's folder or its version's folder; for a container it is only noted.
    """
    if model.is_ensemble:
        yield from _ensemble(model)
        return
    served, names = model.served, sorted(model.target.backends)
    if not served.backend:
        platform = model.config.platform
        near = _meant(platform, names, 0.8)
        yield model.hit(
            "platform" if platform else "backend",
            f"platform '{platform}' is none of the server's"
            if platform
            else "neither backend nor platform is given, and no file tells which it is",
            f'write backend: "{near}" in its place'
            if near
            else f'write backend: "python" (or another one this target has: {", ".join(names)})',
        )
    elif served.backend not in model.target.backends and not _may_be_custom(model):
        near = _meant(served.backend, names, 0.6)
        fix = f"use one of {', '.join(names)}, or verify and serve with another --target"
        if served.backend == _GONE:
            fix = f"convert the model to ONNX, or verify and serve with --target {_HAD_IT}"
        elif others := with_backend(model.target.release, served.backend):
            fix = f"build and serve for a target that has it: {', '.join(others)}"
        elif near and near != served.backend:
            fix = f"did you mean '{near}'?"
        text = f"the target {model.target.name} has no backend '{served.backend}'"
        yield model.hit(_where(model), text, fix)


def _meant(name: str, known: list[str], cutoff: float) -> str:
    """The backend that `name` stands for or is nearly spelt like; "" if there is none."""
    if USUAL_NAMES.get(name) in known:
        return USUAL_NAMES[name]
    near = close_matches(name.lower(), known, 1, cutoff)
    return near[0] if near else ""


@rule("custom-backend", "Backend that the server must be given", Effect.RISK)
def custom_backend(model: Model) -> Iterator[Hit]:
    """A backend that the container does not bring, and whose library is not in the repository.

    It works when `libtriton_NAME.so`, or the `model.py` of a Python-based one, stands in the
    server's backend folder.
    """
    served = model.served
    known = not served.backend or served.backend in model.target.backends
    if not model.is_ensemble and not known and _may_be_custom(model) and not _own_library(model):
        yield model.hit(
            _where(model),
            f"the container brings no backend '{served.backend}'",
            f"put it into the server's backends/{served.backend} folder",
        )


def _where(model: Model) -> str:
    if model.config.backend:
        return "backend"
    return "platform" if model.config.platform else "name"


def _may_be_custom(model: Model) -> bool:
    """Whether the server may have it all the same: not if it looks misspelt, or was taken out."""
    name = model.served.backend
    if _own_library(model):
        return True
    misspelt = _meant(name, sorted(model.target.backends), 0.8)
    gone = name in KNOWN_BACKENDS or name == _GONE or model.served.platform == "custom"
    return not model.target.embedded and not misspelt and not gone


def _ensemble(model: Model) -> Iterator[Hit]:
    config = model.config
    if config.platform != "ensemble" and config.backend != "ensemble":
        return  # `ensemble-config` says so
    if config.backend:
        yield model.hit(
            "backend",
            f"an ensemble has a platform and no backend, here backend is '{config.backend}'",
            'remove the line and write platform: "ensemble"',
        )


def _own_library(model: Model) -> bool:
    name = f"libtriton_{model.served.backend}.so"
    places = [model.folder, *model.versions.values(), model.folder.parent.parent / "backends"]
    return any((each / name).exists() for each in places)


@rule("runtime", "Runtime that is not there", Effect.REFUSED)
def runtime(model: Model) -> Iterator[Hit]:
    """`runtime` names the backend's library, or the `model.py` of a Python-based backend.

    Left out it is the backend's own, which is nearly always meant.
    """
    name = model.config.runtime
    own = {f"libtriton_{model.served.backend}.so", ""}
    places = [model.folder, *model.versions.values()]
    if model.target.embedded and name not in own and not any((p / name).exists() for p in places):
        text = f"there is no library '{name}'"
        yield model.hit("runtime", text, "remove the line")


@rule("platform-pair", "Platform and backend contradict each other", Effect.IGNORED)
def platform_pair(model: Model) -> Iterator[Hit]:
    """`platform` says one backend, `backend` another.

    The server refuses any platform but its own for TensorRT, ONNX Runtime, PyTorch and TensorFlow;
    to other backends it is a text like any other.
    """
    config = model.config
    platform, backend = config.platform, config.backend
    meant = PLATFORMS.get(platform)
    strict = backend in PLATFORMS.values() and not platform.startswith("torch")
    if not platform or not backend or backend in {meant, "tensorrtllm"} or not (meant or strict):
        return
    owner = f"belongs to the backend {meant}, not" if meant else "is no platform of the backend"
    yield Hit(
        model.at("platform"),
        "platform",
        f"platform '{platform}' {owner} {backend}",
        "remove the platform",
        effect=Effect.REFUSED if strict else None,
    )


RULES = (name_mismatch, backend, custom_backend, runtime, platform_pair)
