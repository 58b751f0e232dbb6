"""A user's own ensemble: models of the same file that pass tensors to each other."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from toolkit import kinds
from toolkit.facts import Facts
from toolkit.fields.contract import contract_findings
from toolkit.fields.entry import BaseEntry, DeclaredFields
from toolkit.fields.strict import Many, Strict
from toolkit.finding import FieldFinding
from toolkit.kinds.checks import shape_findings, version_findings
from toolkit.kinds.declared import declared_parameters, declared_tensors
from toolkit.kinds.kind import Building, Kind, Surroundings
from toolkit.kinds.parts import Ensemble, Model, Route, Running
from toolkit.names import nearest


class EnsembleStep(Strict):
    """One step of an ensemble."""

    model: str = Field(
        min_length=1,
        description="A model of this file, or a step of one, such as `minilm.tokenize`.",
    )
    version: int = Field(default=-1, ge=-1, description="Version of the model; -1 is the newest.")
    inputs: dict[str, str] = Field(
        min_length=1, description="Input of the step → tensor of the ensemble."
    )
    outputs: dict[str, str] = Field(
        min_length=1, description="Output of the step → tensor of the ensemble."
    )


class EnsembleEntry(BaseEntry, DeclaredFields):
    """Models that hand each other their tensors inside the server, as one model."""

    kind: Literal["ensemble"] = Field(description="Your own ensemble.")
    steps: Many[EnsembleStep] = Field(
        min_length=1, description="Steps of the ensemble; the tensors determine their order."
    )
    response_cache: bool = Field(
        default=False, description="Whether Triton answers a repeated request from its cache."
    )


class _Ensemble(Kind[EnsembleEntry, Facts]):
    name = "ensemble"
    position = 6
    entry = EnsembleEntry
    title = "An ensemble of models"
    not_here = {
        "source": "an ensemble is made of `steps`",
        "instances": "instances belong to the models that are its steps",
        "batching": "batching belongs to the models that are its steps",
    }

    def is_decoupled(self, entry: EnsembleEntry, others: Mapping[str, BaseEntry]) -> bool:
        return any(_is_decoupled(step.model, others) for step in entry.steps)

    def parts_of(self, entry: EnsembleEntry) -> list[str]:
        return [step.model for step in entry.steps]

    def findings(
        self, name: str, entry: EnsembleEntry, around: Surroundings
    ) -> Iterator[FieldFinding]:
        yield from version_findings(entry, only_first=True)
        yield from _ensemble_findings(name, entry, around)

    def models(self, entry: EnsembleEntry, facts: Any, building: Building) -> list[Model]:
        ensemble = Ensemble(
            name=building.name,
            inputs=declared_tensors(entry.inputs),
            outputs=declared_tensors(entry.outputs),
            routes=[
                Route(step.model, step.inputs, step.outputs, step.version) for step in entry.steps
            ],
            parameters=declared_parameters(entry, building.public),
            max_batch_size=entry.max_batch_size,
            # Triton decides it from the steps anyway; written so that readers of the config know
            decoupled=self.is_decoupled(entry, building.others),
            running=Running(
                response_cache=entry.response_cache, version_policy=entry.version_policy
            ),
        )
        return [ensemble]


KIND = _Ensemble()


def _is_decoupled(model: str, others: Mapping[str, BaseEntry]) -> bool:
    """Whether a model of the file, or a step of one, answers any number of times."""
    if (entry := others.get(model)) is not None:
        # without itself, or ensembles that contain each other would never end here
        rest = {name: each for name, each in others.items() if name != model}
        return kinds.of(entry).is_decoupled(entry, rest)
    owner, _, name = model.rpartition(".")
    if (entry := others.get(owner)) is None:
        return False
    return any(step.decoupled for step in kinds.of(entry).steps if step.name == name)


def _ensemble_findings(
    name: str, entry: EnsembleEntry, around: Surroundings
) -> Iterator[FieldFinding]:
    steps = [
        f"{owner}.{step.name}"
        for owner, each in around.entries.items()
        for step in kinds.of(each).steps
    ]
    known = [*around.entries, *steps]
    for index, step in enumerate(entry.steps):
        place = ("steps", index, "model")
        if step.model == name:
            yield place, "an ensemble cannot be its own step", None
        elif step.model not in known:
            hint = nearest(step.model, [each for each in known if each != name])
            yield place, f"there is no model '{step.model}' in this file", hint
    for cycle in _cycles(name, around.entries):
        yield ("steps",), f"these ensembles contain each other: {' → '.join(cycle)}", None
    yield from shape_findings(entry)
    if entry.contract:
        batched = entry.max_batch_size > 0
        yield from contract_findings(entry.contract, entry.inputs, entry.outputs, batched)
        if entry.contract.cancel and entry.contract.cancel not in known:
            problem = f"there is no model '{entry.contract.cancel}' in this file"
            yield ("contract", "cancel"), problem, nearest(entry.contract.cancel, known)


def _cycles(name: str, entries: Mapping[str, BaseEntry]) -> Iterator[list[str]]:
    """The first way from `name` back to itself."""
    paths = [[name]]
    seen: set[str] = set()
    while paths:
        path = paths.pop()
        entry = entries.get(path[-1])
        for step in entry.steps if isinstance(entry, EnsembleEntry) else ():
            if step.model == name and len(path) > 1:
                yield [*path, name]
                return
            # a way that was tried from here once does not lead back a second time
            if step.model not in seen and step.model != name:
                seen.add(step.model)
                paths.append([*path, step.model])
