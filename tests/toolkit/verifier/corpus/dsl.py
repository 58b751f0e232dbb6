"""A compact way to write model repositories as text, and to break them.

Tensors are written `x:FP32:-1,4` (`x?:…` optional), steps `model x=tensor > y=tensor`. In a case
`@` stands for the case's own name, so that all cases fit into one repository; `lib.…` models are
shared by many cases (`library`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Files = dict[str, str]
"""Path below the repository -> text. A path that ends with `/` is an empty folder."""

ENVIRONMENT = (
    'parameters { key: "EXECUTION_ENV_PATH" '
    'value { string_value: "$$TRITON_MODEL_DIRECTORY/../.environments/onnx" } }\n'
)
CODE = '''
import json
import numpy as np
import triton_python_backend_utils as pb


class TritonPythonModel:
    """Answers every output with the first input, or with zeros where the types differ."""

    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.names = [each["name"] for each in config["input"]]
        self.outputs = [
            (each["name"], pb.triton_string_to_numpy(each["data_type"]))
            for each in config["output"]
        ]
        self.decoupled = config.get("model_transaction_policy", {}).get("decoupled")

    def answer(self, request):
        found = pb.get_input_tensor_by_name(request, self.names[0])
        data = np.zeros(1, np.float32) if found is None else found.as_numpy()
        tensors = []
        for name, kind in self.outputs:
            each = data if data.dtype == kind else np.zeros(data.shape, kind)
            tensors.append(pb.Tensor(name, each))
        return pb.InferenceResponse(tensors)

    def execute(self, requests):
        if not self.decoupled:
            return [self.answer(request) for request in requests]
        for request in requests:
            sender = request.get_response_sender()
            sender.send(self.answer(request))
            sender.send(flags=pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
'''


class Verdict(StrEnum):
    """What the real server does with a repository."""

    LOADS = "loads and answers"
    REFUSED = "refuses to load"
    FAILS = "loads, and the request fails"
    HANGS = "never becomes ready"
    WRONG = "loads, and answers with something else than was declared or sent"


@dataclass(frozen=True, slots=True)
class Case:
    """One repository. `rules` must be reported; without any, nothing at all may be reported."""

    name: str
    files: Files
    verdict: Verdict = Verdict.LOADS
    rules: tuple[str, ...] = ()
    request: str = ""
    """Shapes to send to the first of `roots`, `x:FP32:2,4`; "" loads only."""
    roots: tuple[str, ...] = ("@",)

    def written(self) -> Files:
        """The files with `@` replaced."""
        return {
            path.replace("@", self.name): text.replace("@", self.name)
            for path, text in self.files.items()
        }

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(root.replace("@", self.name) for root in self.roots)


def case(
    name: str, files: Files, verdict: Verdict = Verdict.LOADS, *rules: str, request: str = ""
) -> Case:
    """A case whose model to load is `@`."""
    return Case(name, files, verdict, rules, request)


@dataclass(frozen=True, slots=True)
class Model:
    """What a config says, by its most frequent parts; `more` is added as it is."""

    inputs: str = "x:FP32:-1"
    outputs: str = "y:FP32:-1"
    batch: int = 0
    more: str = ""
    name: str = "@"
    environment: bool = True
    files: Mapping[str, str] = field(default_factory=lambda: {"1/model.py": CODE})


def python(inputs: str = "x:FP32:-1", outputs: str = "y:FP32:-1", **rest: object) -> Files:
    """The files of one Python-backend model; `rest` as in `Model`."""
    model = Model(inputs, outputs, **rest)  # type: ignore[arg-type]
    config = f'name: "{model.name}"\nbackend: "python"\nmax_batch_size: {model.batch}\n'
    config += tensors("input", model.inputs) + tensors("output", model.outputs) + model.more
    config += ENVIRONMENT if model.environment else ""
    files = {f"{model.name}/{path}": text for path, text in model.files.items()}
    return {f"{model.name}/config.pbtxt": config, **files}


def ensemble(inputs: str, outputs: str, *steps: str, **rest: object) -> Files:
    """The files of one ensemble."""
    model = Model(inputs, outputs, files={"1/.gitkeep": ""}, **rest)  # type: ignore[arg-type]
    config = f'name: "{model.name}"\nplatform: "ensemble"\nmax_batch_size: {model.batch}\n'
    config += tensors("input", model.inputs) + tensors("output", model.outputs)
    config += "ensemble_scheduling {\n" + "".join(map(step, steps)) + "}\n" + model.more
    files = {f"{model.name}/{path}": text for path, text in model.files.items()}
    return {f"{model.name}/config.pbtxt": config, **files}


def tensors(kind: str, text: str) -> str:
    """`input` or `output` blocks of a config."""
    return "".join(f"{kind} {{\n{_tensor(each)}}}\n" for each in text.split())


def _tensor(text: str) -> str:
    name, data_type, dims = text.split(":")
    lines = f'  name: "{name.rstrip("?")}"\n  data_type: TYPE_{data_type}\n  dims: [ {dims} ]\n'
    return lines + ("  optional: true\n" if name.endswith("?") else "")


def step(text: str) -> str:
    """One step of an ensemble from `model x=a z=b > y=c`."""
    head, _, outputs = text.partition(">")
    model, *inputs = head.split()
    lines = [f'  step {{\n    model_name: "{model}"\n    model_version: -1\n']
    lines += [_map("input_map", each) for each in inputs]
    lines += [_map("output_map", each) for each in outputs.split()]
    return "".join(lines) + "  }\n"


def _map(kind: str, text: str) -> str:
    key, _, value = text.partition("=")
    return f'    {kind} {{ key: "{key}" value: "{value}" }}\n'


def edit(files: Files, old: str, new: str, path: str = "@/config.pbtxt") -> Files:
    """`files` with every `old` in one of them replaced; it must be there."""
    assert old in files[path], f"{old!r} is not in {path}:\n{files[path]}"
    return {**files, path: files[path].replace(old, new)}


def without(files: Files, *paths: str) -> Files:
    """`files` less some of them."""
    return {path: text for path, text in files.items() if path not in paths}
