"""An ONNX graph. Names, types and ranks of its inputs and outputs are checked when it is loaded.

A graph shares its cores with engines and the gateway, so threads that wait for each other within a
run spin for 20 us and then sleep. Texts/s of all-MiniLM-L6-v2 on 2 cores behind the gateway, with
16 requests of 4 to 40 words in flight: 158; spinning for 100 us 131, until the run ends 136,
without spinning 101. One request at a time: 160; spinning until the run ends 165, without
spinning 116.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from python_backends.cores import count_cores
from python_backends.triton import Array, Arrays, Settings

Ports = Mapping[str, tuple[str, int]]
"""Name -> (onnxruntime type, or several with `|` between them; rank)."""

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

FLOAT, INT64 = "tensor(float)", "tensor(int64)"


@dataclass(frozen=True, slots=True)
class Graph:
    """A loaded graph; `run` is safe to call from several threads."""

    session: Any
    outputs: tuple[str, ...]

    @classmethod
    def load(cls, settings: Settings, inputs: Ports, outputs: Ports) -> "Graph":
        """Loads the step's `model` with its `threads` and `providers`, on the GPU it was placed on.

        Raises ValueError when the graph's inputs or outputs are not exactly the given ones, or when
        it was placed on a GPU and onnxruntime cannot use that.
        """
        import onnxruntime

        path = settings.path("model", "model.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings.number("threads", count_cores())
        # onnxruntime uses these only when it runs branches of a graph in parallel
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.add_session_config_entry("session.intra_op.spin_duration_us", "20")
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, providers=providers(settings))
        if settings.gpus and _CUDA not in session.get_providers():
            # onnxruntime only warns and computes on the CPU, many times slower
            raise ValueError(
                f"'{settings.model}' was placed on GPU {settings.gpus[0]}, and onnxruntime cannot"
                " use CUDA there; see onnxruntime's error in Triton's log"
            )
        faults = [
            *compare("input", session.get_inputs(), inputs),
            *compare("output", session.get_outputs(), outputs),
        ]
        if faults:
            raise ValueError(f"{path.name} of '{settings.model}': " + "; ".join(faults))
        return cls(session, tuple(outputs))

    def run(self, feeds: Arrays) -> dict[str, Array]:
        """Runs the graph once; returns all outputs by name."""
        values = self.session.run(list(self.outputs), dict(feeds))
        return dict(zip(self.outputs, values, strict=True))

    def input_type(self, name: str) -> str:
        """onnxruntime's type of an input, such as `tensor(float)`."""
        return next(str(port.type) for port in self.session.get_inputs() if port.name == name)


def providers(settings: Settings) -> list[Any]:
    """onnxruntime's execution providers; each node runs on the first one that supports it."""
    import onnxruntime

    named = settings.text("providers", "")
    if named:
        return named.split(",")
    if not settings.gpus:
        return [_CPU]
    if hasattr(onnxruntime, "preload_dlls"):  # CUDA and cuDNN from wheels beside it, if there are
        onnxruntime.preload_dlls()
    # the arena grows by what is asked for: engines beside it measured what is free on the GPU
    options = {"device_id": str(settings.gpus[0]), "arena_extend_strategy": "kSameAsRequested"}
    return [(_CUDA, options), _CPU]


def compare(side: str, actual: Any, expected: Ports) -> list[str]:
    """Describes the differences between a graph's inputs (or outputs) and the expected ones."""
    have = {port.name: (port.type, len(port.shape)) for port in actual}
    faults = [f"{side} '{name}' is missing" for name in expected if name not in have]
    faults += [f"{side} '{name}' is unknown" for name in have if name not in expected]
    for name, (kind, rank) in expected.items():
        is_kind, is_rank = have.get(name, (kind.split("|")[0], rank))
        if is_kind not in kind.split("|") or is_rank != rank:
            faults.append(f"{side} '{name}' is {is_kind} of rank {is_rank}, not {kind} of {rank}")
    return faults
