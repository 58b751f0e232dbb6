"""The text encoder step: prompt and negative prompt -> `embeddings` FP32 [2, L, D] and the number
of tokens."""

import os
from collections.abc import Mapping, Sequence

from python_backends.onnx import FLOAT, INT64, Graph
from python_backends.text_encoder.prompts import PromptTokenizer
from python_backends.torchless import leave_out_torch
from python_backends.triton import Request, Settings, end_process, read, refuse, respond, text

_INPUTS = {"input_ids": (INT64, 2)}
_OUTPUTS = {"embeddings": (FLOAT, 3)}


class TritonPythonModel:
    """Called by Triton."""

    def initialize(self, args: Mapping[str, str]) -> None:
        leave_out_torch()
        os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
        settings = Settings.read(args)
        folder = settings.path("tokenizer", "tokenizer")
        self._tokenizer = PromptTokenizer.load(
            folder, settings.number("length", 77), settings.number("max_text_bytes", 0)
        )
        self._graph = Graph.load(settings, _INPUTS, _OUTPUTS)

    def execute(self, requests: Sequence[Request]) -> list[object]:
        return [self._answer(request) for request in requests]

    def finalize(self) -> None:
        end_process()

    def _answer(self, request: Request) -> object:
        try:
            arrays = read(request)
            prompt = text(arrays, "prompt") or ""
            negative = text(arrays, "negative_prompt") or ""
            embeddings = self._graph.run({"input_ids": self._tokenizer.pair(negative, prompt)})
            return respond({**embeddings, "num_tokens": self._tokenizer.count(negative, prompt)})
        except Exception as error:  # one bad request must not fail those beside it
            return refuse(error)
