"""The decode step: `latents` through the VAE's decoder to PNG files."""

from collections.abc import Mapping, Sequence

from python_backends.decode.pictures import encode_png, to_pixels
from python_backends.onnx import FLOAT, Graph
from python_backends.triton import (
    Array,
    Request,
    Settings,
    end_process,
    read,
    refuse,
    respond,
    texts,
)

_INPUTS = {"latents": (FLOAT, 4)}
_OUTPUTS = {"image": (FLOAT, 4)}


class TritonPythonModel:
    """Called by Triton."""

    def initialize(self, args: Mapping[str, str]) -> None:
        settings = Settings.read(args)
        self._scaling = settings.real("scaling_factor", 1.0)
        self._shift = settings.real("shift_factor", 0.0)
        self._graph = Graph.load(settings, _INPUTS, _OUTPUTS)

    def execute(self, requests: Sequence[Request]) -> list[object]:
        return [self._answer(request) for request in requests]

    def finalize(self) -> None:
        end_process()

    def _answer(self, request: Request) -> object:
        try:
            images = [self._draw(one[None]) for one in read(request)["latents"]]
            return respond({"image": texts(images)})
        except Exception as error:  # one bad request must not fail those beside it
            return refuse(error)

    def _draw(self, latents: Array) -> bytes:
        """Decodes one image at a time: a decoder's memory grows with its batch."""
        values = (latents / self._scaling + self._shift).astype("float32")
        return encode_png(to_pixels(self._graph.run({"latents": values})["image"][0]))
