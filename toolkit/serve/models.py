"""Finds the public models of a repository, and checks that it was built for this server.

Reads the repository on disk only.
"""

import contextlib
import json
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import json_format, text_format

from toolkit.contract import ALIASES, KEEP_ALIVE, KIND
from toolkit.errors import RepositoryError
from toolkit.model_config import ModelConfig
from toolkit.names import match_alias
from toolkit.repository.code import broken_imports, outdated_steps

CACHE_BYTES = 256 << 20
"""Size of Triton's response cache, if a model enables it."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A public model: an ensemble, or a user's own model."""

    name: str
    config: ModelConfig

    @property
    def kind(self) -> str:
        """One of `contract.INTERFACES`, or "" for a model without toolkit parameters."""
        return self.parameter(KIND)

    @property
    def aliases(self) -> list[str]:
        """Other names that clients may use for it."""
        return list(json.loads(self.parameter(ALIASES) or "[]"))

    @property
    def is_on_demand(self) -> bool:
        """Whether the gateway loads it with its first request, and unloads it when it is idle."""
        text = self.parameter(KEEP_ALIVE)
        # a negative keep_alive means forever, as in Ollama
        return bool(text) and not text.startswith("-")

    def parameter(self, key: str) -> str:
        """A config parameter's text, "" when absent."""
        return self.config.parameters[key].string_value if key in self.config.parameters else ""


def public_models(repository: Path) -> list[ServedModel]:
    """All models that clients can ask for: those with a kind, and those that are not a step.

    Raises RepositoryError if there are none, or a config is not valid.
    """
    configs = [_read(path) for path in sorted(repository.glob("[!.]*/config.pbtxt"))]
    if not configs:
        here = repository.exists()
        error = RepositoryError(
            f"{repository} does not contain models"
            if here
            else f"the folder {repository} does not exist",
            hint="build it first: toolkit build-repo",
        )
        # a wrong path is wrong use
        error.exit_code = error.exit_code if here else 2
        raise error
    return public(configs)


def public(configs: list[ModelConfig]) -> list[ServedModel]:
    """The models with a kind, and those that are not a step of another."""
    steps = {step.model_name for config in configs for step in config.ensemble_scheduling.step}
    models = [ServedModel(config.name, config) for config in configs]
    return [model for model in models if model.kind or model.name not in steps]


def server_options(repository: Path) -> list[str]:
    """Flags of the server that the repository's configs require.

    A config that cannot be read is skipped: the server itself refuses its model.
    """
    configs = []
    for path in repository.glob("[!.]*/config.pbtxt"):
        with suppress(RepositoryError):
            configs.append(_read(path))
    flags = []
    if any(config.response_cache.enable for config in configs):
        flags.append(f"--cache-config=local,size={CACHE_BYTES}")
    groups = [group for config in configs for group in config.instance_group]
    if any(group.HasField("rate_limiter") for group in groups):
        flags.append("--rate-limit=execution_count")
    return flags


def check_target(repository: Path, expected: str) -> None:
    """Refuses a repository that was built for another target."""
    target = read_manifest(repository).get("target", expected)
    if target != expected:
        raise RepositoryError(
            f"{repository} was built for the target '{target}', not '{expected}'",
            hint=_build_command(repository, "--target", expected),
        )


def check_code(repository: Path) -> str:
    """Refuses steps whose files come from different releases of the toolkit. Returns a sentence for
    a person if all are of one release but not of this one, else ""."""
    broken = {
        folder.parent.name: sentences[0]
        for folder in sorted(repository.glob("[!.]*/[0-9]*"))
        if (sentences := broken_imports(folder))
    }
    command = _build_command(repository)
    if broken:
        step, sentence = next(iter(broken.items()))
        others = f"; the same for {', '.join(list(broken)[1:])}" if len(broken) > 1 else ""
        raise RepositoryError(
            f"the files of {repository} come from different releases of the toolkit: in {step} "
            f"{sentence}{others}",
            hint=command,
        )
    if outdated := outdated_steps(repository):
        return (
            f"{repository} was built by another release of the toolkit "
            f"({', '.join(outdated)}); to update it: {command}"
        )
    return ""


def read_manifest(repository: Path) -> Mapping[str, Any]:
    """The build's manifest of the repository; empty if the toolkit did not build it.

    Raises RepositoryError if it cannot be read.
    """
    manifest = repository / "repository.json"
    if not manifest.exists():
        return {}
    try:
        content = json.loads(manifest.read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not valid JSON"
        raise RepositoryError(
            f"{manifest} cannot be read: {reason}", hint="run toolkit build-repo to write it again"
        ) from error
    return content if isinstance(content, dict) else {}


def _build_command(repository: Path, *options: str) -> str:
    spec = str(read_manifest(repository).get("spec", "models.yaml"))
    return shlex.join(["toolkit", "build-repo", spec, *options, "--output", str(repository)])


def read_config(repository: Path, name: str) -> ModelConfig | None:
    """One model's config on disk; None if it cannot be read."""
    with contextlib.suppress(OSError, RepositoryError):
        return _read(repository / name / "config.pbtxt")
    return None


def read_configs(repository: Path) -> dict[str, ModelConfig]:
    """Every config on disk that can be read, by model."""
    names = (path.parent.name for path in sorted(repository.glob("[!.]*/config.pbtxt")))
    configs = {name: read_config(repository, name) for name in names}
    return {name: config for name, config in configs.items() if config is not None}


def family_of(name: str, configs: Mapping[str, ModelConfig]) -> list[str]:
    """The model of that name or alias, and its steps; empty if there is none."""
    served = [ServedModel(model, config) for model, config in configs.items()]
    aliases = {alias: model for model in served for alias in model.aliases}
    names = aliases | {model.name: model for model in served}
    if (alias := match_alias(name, names)) is None:
        return []
    model = names[alias]
    return [model.name, *(step.model_name for step in model.config.ensemble_scheduling.step)]


def as_json(config: ModelConfig) -> str:
    """A config in the format of Triton's load call."""
    fields = json_format.MessageToDict(config, preserving_proto_field_name=True)
    # 0 is proto3's default and left out, and a missing one makes Triton guess (4 for ONNX)
    return json.dumps(fields | {"max_batch_size": config.max_batch_size})


def _read(path: Path) -> ModelConfig:
    try:
        config = text_format.Parse(path.read_text(encoding="utf-8"), ModelConfig())
    except text_format.ParseError as error:
        raise RepositoryError(
            f"{path}:{error}", hint="for the reason, run toolkit verify"
        ) from error
    except UnicodeDecodeError as error:
        raise RepositoryError(f"{path} is not text in UTF-8") from error
    except OSError as error:
        raise RepositoryError(f"{path} cannot be read: {error.strerror}") from error
    config.name = config.name or path.parent.name
    return config
