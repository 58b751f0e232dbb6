"""A user's own model.py on the Python backend, with tensors that the user declares."""

import json
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from toolkit.contract import INTERFACES
from toolkit.facts import Facts
from toolkit.fields.contract import contract_findings
from toolkit.fields.entry import BaseEntry, DeclaredFields, QueuedFields, SourcedEntry
from toolkit.fields.strict import Many
from toolkit.finding import FieldFinding
from toolkit.kinds.checks import (
    queue_findings,
    shape_findings,
    sourced_findings,
    version_findings,
)
from toolkit.kinds.conversion import Conversion, Rate
from toolkit.kinds.declared import declared_parameters, declared_tensors
from toolkit.kinds.kind import Building, Kind, Surroundings
from toolkit.kinds.parts import Model, Running, Step
from toolkit.names import nearest, shown

_PARAMETER = r"^[A-Za-z_][A-Za-z0-9_.-]{0,127}$"


class UserFacts(Facts):
    """A user's own model: the versions that its source holds."""

    kind: Literal["python"] = "python"
    versions: tuple[int, ...]


COPY = Conversion(
    "toolkit.convert.user",
    "copy_user_model",
    1,
    (),
    "copy the model's files",
    Rate(0, 3, start_bytes=0.1e9, memory=0.0),
    check="copy",
)


class PythonEntry(SourcedEntry, QueuedFields, DeclaredFields):
    """A model of your own: a `model.py` with a class `TritonPythonModel`, on the Python backend."""

    kind: Literal["python"] = Field(description="Your own model.py.")
    decoupled: bool = Field(
        default=False,
        description="Whether it sends any number of responses to one request (decoupled).",
    )
    packages: Literal["onnx", "vllm", "server"] | Annotated[Many[str], Field(min_length=1)] = Field(
        default="onnx",
        description="The Python environment it runs in: `onnx` (numpy, onnxruntime, tokenizers, "
        "transformers, torch), `vllm`, `server` (Triton's own Python), or a list of pinned "
        "requirements, as `[scikit-learn==1.9.1]`, for a separate environment. In a container, "
        "the image must contain the packages.",
    )
    parameters: dict[Annotated[str, Field(pattern=_PARAMETER)], str | int | float | bool] = Field(
        default={}, description="Parameters that `model.py` reads from its `model_config`."
    )


class _Python(Kind[PythonEntry, UserFacts]):
    name = "python"
    position = 5
    entry = PythonEntry
    facts = UserFacts
    estimate = "process"
    title = "Your own model.py"
    code_files = ("model.py",)

    def conversion(self, source: Path) -> Conversion:
        return COPY

    def is_decoupled(self, entry: PythonEntry, others: Mapping[str, BaseEntry]) -> bool:
        return entry.decoupled

    def files(self, entry: PythonEntry) -> dict[str, str]:
        """The requirements of the model's environment."""
        if not isinstance(entry.packages, tuple):
            return {}
        # `toolkit serve` reads it: on the serving machine there may be no models.yaml
        return {"requirements.txt": "".join(f"{line}\n" for line in sorted(entry.packages))}

    def findings(
        self, name: str, entry: PythonEntry, around: Surroundings
    ) -> Iterator[FieldFinding]:
        yield from sourced_findings(entry, (), around)
        yield from _warmup_findings(entry)
        yield from version_findings(entry, only_first=False)
        yield from queue_findings(entry, entry.max_batch_size)
        yield from _python_findings(entry)

    def models(self, entry: PythonEntry, facts: UserFacts, building: Building) -> list[Model]:
        gpus = any(group.gpus or group.device == "gpu" for group in entry.instances or ())
        own = {key: _text(value) for key, value in entry.parameters.items()}
        step = Step(
            name=building.name,
            environment=_environment(entry),
            inputs=declared_tensors(entry.inputs),
            outputs=declared_tensors(entry.outputs),
            parameters={**declared_parameters(entry, building.public), **own},
            max_batch_size=entry.max_batch_size,
            decoupled=entry.decoupled,
            device="gpu" if gpus else "cpu",
            running=Running(
                entry.instances,
                entry.batching,
                entry.priority,
                entry.warmup,
                entry.response_cache,
                entry.version_policy,
            ),
        )
        return [step]


KIND = _Python()


def _environment(entry: PythonEntry) -> str | None:
    """The folder below `.environments/` that a user's model runs in, None for the server's own."""
    if isinstance(entry.packages, tuple):
        text = "\n".join(sorted(entry.packages))  # as `toolkit.runtime.environments` finds it
        return f"own-{sha256(text.encode()).hexdigest()[:12]}"
    return None if entry.packages == "server" else entry.packages


def _text(value: str | int | float | bool) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _warmup_findings(entry: PythonEntry) -> Iterator[FieldFinding]:
    for index, request in enumerate(entry.warmup):
        for name, value in request.inputs.items():
            place = ("warmup", index, "inputs", name)
            if name not in entry.inputs:
                yield place, "is not an input of this model", nearest(name, entry.inputs)
            elif value.text is not None and entry.inputs[name].type != "STRING":
                yield (*place, "text"), f"'{name}' is {entry.inputs[name].type}, not STRING", None
            elif value.text is not None and value.data is not None:
                yield place, "has both `data` and `text`", "write one of them"
        for name, tensor in entry.inputs.items():
            given = request.inputs.get(name)
            dims = given.dims if given else None
            # Triton makes the data itself and needs a size for every dimension
            if dims is None and min(tensor.dims) < 0 and not tensor.optional:
                problem = f"'{name}' is {list(tensor.dims)}: a warm-up needs its size"
                yield ("warmup", index), problem, f"write inputs: {{{name}: {{dims: […]}}}}"


def _python_findings(entry: PythonEntry) -> Iterator[FieldFinding]:
    batched = entry.max_batch_size > 0
    if entry.batching and entry.batching.max_batch_size is not None:
        hint = "write max_batch_size beside `inputs`"
        yield ("batching", "max_batch_size"), "is a field of the model itself here", hint
    if (entry.batching or entry.priority) and not batched:
        field = "batching" if entry.batching else "priority"
        hint = "set max_batch_size to 1 or more"
        yield (field,), "needs a model with a batch dimension", hint
    if entry.response_cache and entry.decoupled:
        yield ("response_cache",), "Triton cannot cache decoupled models", "omit one of them"
    for name, tensor in entry.inputs.items():
        if tensor.ragged and not batched:
            yield ("inputs", name, "ragged"), "needs max_batch_size", "set it to 1 or more"
    yield from shape_findings(entry)
    if isinstance(entry.packages, tuple):
        for index, requirement in enumerate(entry.packages):
            # pinned, as the environment is named by these lines: two days must give the same one
            if not re.fullmatch(r"[A-Za-z0-9][\w.-]*(\[[\w,-]+\])?==[\w.+!-]+", requirement):
                problem = f"{shown(requirement)} is not a pinned requirement"
                yield ("packages", index), problem, "write NAME==VERSION"
    if entry.contract:
        yield from contract_findings(entry.contract, entry.inputs, entry.outputs, batched)
        # the gateway streams from models of such a kind, and calls all others
        wants = INTERFACES[entry.contract.kind].decoupled
        if wants != entry.decoupled:
            text = "is decoupled" if wants else "is not decoupled"
            fix = f"write decoupled: {str(wants).lower()}"
            yield ("decoupled",), f"a model with the contract '{entry.contract.kind}' {text}", fix
