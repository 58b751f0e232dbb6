"""Lists, loads and unloads the models of a running Triton, and their versions.

A model that is not named is never interrupted: a load replaces a model only when the new one is
ready, and an unload also unloads the steps that no other loaded model uses.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from toolkit.errors import ServeError
from toolkit.model_config import ModelConfig
from toolkit.names import close_models, match_alias
from toolkit.serve.connection import serve_error, triton_errors
from toolkit.serve.models import ServedModel, as_json, read_config

READY = "READY"
_CALL_TIMEOUT_S = 10.0
_POLL_S = 0.05
_GONE = {"", "UNAVAILABLE"}


class Steps(Enum):
    """Which steps are unloaded with an ensemble; steps that other models use always stay."""

    NONE = "none"
    OWN = "own"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Version:
    """One version as Triton's index has it; `state` is "" for one that was never loaded."""

    number: int
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model of the repository. `config` is the loaded one, else the one on this machine's disk.

    `step_of` names the loaded ensembles that it serves.
    """

    name: str
    versions: tuple[Version, ...]
    config: ModelConfig | None
    step_of: tuple[str, ...]

    @property
    def serving(self) -> list[int]:
        """The versions that are ready."""
        return [version.number for version in self.versions if version.state == READY]

    @property
    def served(self) -> ServedModel:
        """The model with its toolkit parameters."""
        return ServedModel(self.name, self.config or ModelConfig(name=self.name))

    @property
    def public(self) -> bool:
        """Whether clients can request it: it has a kind, or it is not a step of another model."""
        return bool(self.served.kind) or not self.step_of


@dataclass(slots=True)
class Control:
    """The control calls of one Triton. `repository` is its folder, if it is on this machine."""

    api: service_pb2_grpc.GRPCInferenceServiceStub
    repository: Path | None = None
    timeout_s: float = 600.0
    now: Callable[[], float] = field(default=time.monotonic)

    def models(self) -> dict[str, ModelStatus]:
        """Every model of the repository by name. Raises ServeError if Triton does not answer."""
        versions = self._index()
        configs = {name: self._config(name, known) for name, known in versions.items()}
        # only loaded ensembles use a step; others would prevent its unload forever
        users = _users({n: c for n, c in configs.items() if c and _serves(versions[n])})
        # a step that is not loaded is still a step, and is not listed as a model
        stale = _users({n: c for n, c in configs.items() if c})
        return {
            name: ModelStatus(
                name,
                tuple(known),
                configs[name],
                tuple(users.get(name, ()) if _serves(known) else stale.get(name, ())),
            )
            for name, known in versions.items()
        }

    def _index(self) -> dict[str, list[Version]]:
        with triton_errors("cannot list models"):
            index = self.api.RepositoryIndex(
                service_pb2.RepositoryIndexRequest(), timeout=_CALL_TIMEOUT_S
            )
        versions: dict[str, list[Version]] = {}
        for row in sorted(index.models, key=lambda row: (row.name, int(row.version or 0))):
            if not row.name.startswith("."):  # `.environments` is not a model
                known = versions.setdefault(row.name, [])
                if row.version:
                    known.append(Version(int(row.version), row.state, row.reason))
        return versions

    def find(self, name: str) -> ModelStatus:
        """The model of that name or alias. Raises ServeError, with a similar name, if none is."""
        models = self.models()
        if name in models:
            return models[name]
        aliases = {alias: model for model in models.values() for alias in model.served.aliases}
        if alias := match_alias(name, aliases):
            return aliases[alias]
        near = close_models(name, [*models, *aliases], 1)
        known = ", ".join(each for each, model in models.items() if model.public) or "none"
        hint = f"did you mean '{near[0]}'?" if near else f"it has: {known}"
        raise ServeError(f"Triton's repository has no model '{name}'", hint=hint)

    def _config(self, name: str, versions: Sequence[Version]) -> ModelConfig | None:
        if _serves(versions):
            request = service_pb2.ModelConfigRequest(name=name)
            try:
                return self.api.ModelConfig(request, timeout=_CALL_TIMEOUT_S).config
            except grpc.RpcError:
                pass  # it was unloaded meanwhile
        return read_config(self.repository, name) if self.repository else None

    def load(self, name: str, versions: Sequence[int] = ()) -> ModelStatus:
        """Loads a model, or again one whose files changed; with `versions`, these and no others.

        The running versions serve until the new one is ready, and stay if it fails. Raises
        ServeError with Triton's reason.
        """
        before = self.find(name)
        # an alias was given
        name = before.name
        self._check_on_disk(name, versions)
        request = service_pb2.RepositoryModelLoadRequest(model_name=name)
        if versions:
            config = self._with_versions(before, versions)
            request.parameters["config"].string_param = config
        try:
            self.api.RepositoryModelLoad(request, timeout=self.timeout_s)
        except grpc.RpcError as error:
            raise self._refused(before, error) from error
        loaded = self.find(name)
        # the repository may be on another machine, where folders cannot be checked before
        if lost := set(versions) - set(loaded.serving):
            raise ServeError(
                f"{name}: version {min(lost)} is not in the repository",
                hint=f"serving: {_numbers(loaded.serving)}",
            )
        return loaded

    def _check_on_disk(self, name: str, versions: Sequence[int]) -> None:
        """Triton would load those that exist and ignore the others."""
        for version in versions:
            if self.repository and not (self.repository / name / str(version)).is_dir():
                raise ServeError(
                    f"{name}: version {version} is not in the repository",
                    hint=f"its folder would be {self.repository / name / str(version)}",
                )

    def _with_versions(self, model: ModelStatus, versions: Sequence[int]) -> str:
        config = read_config(self.repository, model.name) if self.repository else None
        config = config or model.config
        if config is None:
            raise ServeError(
                f"{model.name} has never been loaded, so Triton does not have its config",
                hint=f"first: toolkit models load {model.name}",
            )
        chosen = ModelConfig()
        chosen.CopyFrom(config)
        chosen.version_policy.specific.versions[:] = sorted(versions)
        return as_json(chosen)

    def _refused(self, before: ModelStatus, error: grpc.RpcError) -> ServeError:
        reason = serve_error(f"{before.name} was not loaded", error)
        if reason.hint:
            return reason
        try:
            serving = self.find(before.name).serving
        except ServeError:
            return reason
        if serving:
            return ServeError(reason.message, hint=f"version {_numbers(serving)} is still served")
        where = self.repository or "REPOSITORY"
        return ServeError(reason.message, hint=f"to find the reason, run toolkit verify {where}")

    def unload(self, name: str, which: Steps = Steps.OWN) -> list[str]:
        """Unloads a model and the steps that only it uses; returns their names, in order.

        Running requests end first. Raises ServeError for a step that a loaded model needs.
        """
        models = self.models()
        model = self.find(name)
        name = model.name
        if users := [each for each in model.step_of if models[each].serving]:
            raise ServeError(
                f"{name} is a step of {', '.join(users)}, which requires it",
                hint=f"toolkit models unload {users[0]} also unloads its steps",
            )
        unloaded = _to_unload(name, models, which)
        for each in unloaded:
            self._unload(each)
        return [each for each in unloaded if models[each].serving]

    def unload_steps(self, name: str) -> None:
        """Unloads the loaded steps of a model that is not loaded itself. Raises ServeError if
        Triton refuses or does not answer."""
        models = self.models()
        for each in _to_unload(name, models, Steps.OWN):
            # an unload would make Triton forget why a model failed
            if each != name and models[each].serving:
                self._unload(each)

    def _unload(self, name: str) -> None:
        """Returns when it is unloaded: its steps must stay while its requests still run."""
        request = service_pb2.RepositoryModelUnloadRequest(model_name=name)
        with triton_errors(f"{name} was not unloaded"):
            # returns in 10 ms, long before the model is unloaded; hence the polling
            self.api.RepositoryModelUnload(request, timeout=_CALL_TIMEOUT_S)
        deadline = self.now() + self.timeout_s
        while not all(version.state in _GONE for version in self._index().get(name, ())):
            if self.now() > deadline:
                raise ServeError(
                    f"{name} still has running requests after {self.timeout_s:g} s",
                    hint="it does not accept new requests and is unloaded when they end",
                )
            time.sleep(_POLL_S)

    def statistics(self, name: str) -> list[service_pb2.ModelStatistics]:
        """The statistics of each loaded version since it was loaded; empty if none is loaded."""
        request = service_pb2.ModelStatisticsRequest(name=name)
        try:
            statistics = self.api.ModelStatistics(request, timeout=_CALL_TIMEOUT_S).model_stats
        except grpc.RpcError as error:
            # what Triton says about a model that is not loaded
            if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                return []
            raise serve_error(f"no statistics of {name}", error) from error
        return sorted(statistics, key=lambda each: int(each.version))


def steps_of(config: ModelConfig | None) -> list[str]:
    """The models that an ensemble calls; empty for other models."""
    return [step.model_name for step in config.ensemble_scheduling.step] if config else []


def _users(configs: dict[str, ModelConfig]) -> dict[str, list[str]]:
    users: dict[str, list[str]] = {}
    for name, config in configs.items():
        for step in dict.fromkeys(steps_of(config)):
            users.setdefault(step, []).append(name)
    return users


def _to_unload(name: str, models: dict[str, ModelStatus], which: Steps) -> list[str]:
    """The model, and its steps that are unloaded too: never one that another model uses.

    `chat.engine` is a part of `chat` and is unloaded with it. A step without such a name is a
    model that clients may ask for, and stays unless `which` is ALL.
    """
    unloaded = [name]
    # the list grows while it is read: steps may be ensembles themselves
    for each in unloaded if which is not Steps.NONE else ():
        for step in steps_of(models[each].config):
            known = models.get(step)
            # a step with a kind is a model that clients ask for
            if known is None or step in unloaded or known.served.kind:
                continue
            owners = [owner for owner in models if step.startswith(f"{owner}.")]
            idle = all(owner in unloaded or not models[owner].serving for owner in owners)
            unload = which is Steps.ALL or (owners and idle)
            if unload and all(user in unloaded for user in known.step_of):
                unloaded.append(step)
    return unloaded


def _serves(versions: Sequence[Version]) -> bool:
    return any(version.state == READY for version in versions)


def _numbers(versions: Sequence[int]) -> str:
    return ", ".join(map(str, versions)) or "none"
