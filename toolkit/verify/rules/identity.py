"""Name and backend: what the model is called and what runs it."""

from collections.abc import Iterator
from difflib import get_close_matches

from toolkit.verify.backends import PLATFORMS
from toolkit.verify.model import Hit, Model
from toolkit.verify.problem import Effect
from toolkit.verify.rule import rule


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

    The embedded server has the Python backend only. A backend of your own is found when its
    library stands in the model's folder or its version's folder; for a container it is only noted.
    """
    if model.is_ensemble:
        yield from _ensemble(model)
        return
    served, names = model.served, sorted(model.target.backends)
    if not served.backend:
        yield model.hit(
            "platform" if model.config.platform else "backend",
            f"platform '{model.config.platform}' is none of the server's"
            if model.config.platform
            else "neither backend nor platform is given, and no file tells which it is",
            'write backend: "python" (or another one this target has: ' + ", ".join(names) + ")",
        )
    elif served.backend not in model.target.backends and not _may_be_custom(model):
        near = get_close_matches(served.backend.lower(), names, 1, 0.6)
        yield model.hit(
            _where(model),
            f"the target {model.target.name} has no backend '{served.backend}'",
            f"did you mean '{near[0]}'?"
            if near and near[0] != served.backend
            else f"use one of {', '.join(names)}, or verify and serve with another --target",
        )


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
    """Whether the server may have it all the same: not if it looks misspelt."""
    name = model.served.backend
    if _own_library(model):
        return True
    misspelt = get_close_matches(name.lower(), sorted(model.target.backends), 1, 0.8)
    return not model.target.embedded and not misspelt and model.served.platform != "custom"


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
    """`platform` says one backend, `backend` another."""
    config = model.config
    meant = PLATFORMS.get(config.platform)
    if meant and config.backend and config.backend not in {meant, "tensorrtllm"}:
        yield model.hit(
            "platform",
            f"platform '{config.platform}' belongs to the backend {meant}, not {config.backend}",
            "remove the platform",
        )


RULES = (name_mismatch, backend, custom_backend, runtime, platform_pair)
