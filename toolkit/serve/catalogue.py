"""Which models of a repository are public, and whether it was built for this server.

Reads the repository on disk only.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from toolkit.errors import RepositoryError


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that nothing else is made of: an ensemble of the catalogue, or a user's own model."""

    name: str
    config: ModelConfig

    @property
    def kind(self) -> str:
        """`llm`, `embedding`, `diffusion`, or "" for a model without toolkit parameters."""
        return self.parameter("toolkit.kind")

    def parameter(self, key: str) -> str:
        """A config parameter's text, "" when absent."""
        return self.config.parameters[key].string_value if key in self.config.parameters else ""


def public_models(repository: Path) -> list[ServedModel]:
    """All models that are no step of an ensemble, by name. Raises RepositoryError."""
    configs = [_read(path) for path in sorted(repository.glob("[!.]*/config.pbtxt"))]
    if not configs:
        raise RepositoryError(
            f"{repository} holds no models", hint="build it first: toolkit build-repo"
        )
    steps = {step.model_name for config in configs for step in config.ensemble_scheduling.step}
    return [ServedModel(config.name, config) for config in configs if config.name not in steps]


def check_target(repository: Path, expected: str) -> None:
    """Refuses a repository that says it was built for another target."""
    manifest = repository / "repository.json"
    if not manifest.exists():
        return
    target = str(json.loads(manifest.read_text()).get("target", expected))
    if target != expected:
        raise RepositoryError(
            f"{repository} was built for the target '{target}', not '{expected}'",
            hint=f"toolkit build-repo --target {expected} --output {repository}",
        )


def _read(path: Path) -> ModelConfig:
    try:
        config = text_format.Parse(path.read_text(), ModelConfig())
    except text_format.ParseError as error:
        raise RepositoryError(f"{path}:{error}", hint="toolkit verify explains it") from error
    config.name = config.name or path.parent.name
    return config
