"""The denoise step: runs one request's images through the scheduler's steps, a graph run for each.

Supports models shaped like Stable Diffusion: a UNet with latents, a timestep and text embeddings.
"""

from collections.abc import Mapping, Sequence

from python_backends.denoise.diffusion import Denoiser
from python_backends.denoise.order import Limits, read_order
from python_backends.onnx import FLOAT, INT64, Graph
from python_backends.triton import Request, Settings, end_process, read, refuse, respond

_INPUTS = {
    "sample": (FLOAT, 4),
    "timestep": (f"{FLOAT}|{INT64}", 1),
    "encoder_hidden_states": (FLOAT, 3),
}
_OUTPUTS = {"noise": (FLOAT, 4)}


class TritonPythonModel:
    """Called by Triton."""

    def initialize(self, args: Mapping[str, str]) -> None:
        settings = Settings.read(args)
        self._limits = Limits(**settings.table("image"))
        self._denoiser = Denoiser.load(settings, Graph.load(settings, _INPUTS, _OUTPUTS))

    def execute(self, requests: Sequence[Request]) -> list[object]:
        return [self._answer(request) for request in requests]

    def finalize(self) -> None:
        end_process()

    def _answer(self, request: Request) -> object:
        try:
            arrays = read(request)
            order = read_order(arrays, self._limits)
            return respond({"latents": self._denoiser.run(arrays["embeddings"], order)})
        except Exception as error:  # one bad request must not fail those beside it
            return refuse(error)
