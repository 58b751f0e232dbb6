"""Name and backend: what the model is called and what runs it."""

from collections.abc import Iterator
from difflib import get_close_matches

from toolkit.verify.backends import PLATFORMS
from toolkit.verify.model import Hit, Model
from toolkit.verify.problem import Effect
from toolkit.verify.rule import rule

_OLD_PLATFORMS = {"caffe2_netdef", "custom"}


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
    library stands in the model's folder or its version's folder.
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
    elif served.backend not in model.target.backends and not _own_library(model):
        path = "backend" if model.config.backend else "platform"
        near = get_close_matches(served.backend.lower(), names, 1, 0.6)
        yield model.hit(
            path if model.config.backend or model.config.platform else "name",
            f"the target {model.target.name} has no backend '{served.backend}'",
            f"did you mean '{near[0]}'?" if near and near[0] != served.backend else
            f"use one of {', '.join(names)}, or verify and serve with another --target",
        )


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


RULES = (name_mismatch, backend, platform_pair)
