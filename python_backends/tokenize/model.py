"""The tokenize step: texts, or pairs of them, in; padded `input_ids`, their mask and count out.

With the parameter `segments` it tokenizes pairs.
"""

import os
from collections.abc import Mapping, Sequence

from python_backends.tokenize.pairs import PairTokenizer
from python_backends.tokenize.texts import TextTokenizer
from python_backends.triton import Request, Settings, end_process, read, refuse, respond


class TritonPythonModel:
    """Called by Triton."""

    def initialize(self, args: Mapping[str, str]) -> None:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        settings = Settings.read(args)
        folder = settings.path("tokenizer", "tokenizer")
        length = int(settings.parameters["context_length"])
        bounds = settings.number("pad_to_multiple", 1), settings.number("max_text_bytes", 0)
        self._tokenizer: TextTokenizer | PairTokenizer
        if "segments" in settings.parameters:
            segments = settings.text("segments", "") == "true"
            self._tokenizer = PairTokenizer.load(folder, length, segments, *bounds)
        else:
            self._tokenizer = TextTokenizer.load(folder, length, *bounds)

    def execute(self, requests: Sequence[Request]) -> list[object]:
        return [self._answer(request) for request in requests]

    def finalize(self) -> None:
        end_process()

    def _answer(self, request: Request) -> object:
        try:
            return respond(self._tokenizer.read(read(request)))
        except Exception as error:  # one bad request must not fail those beside it
            return refuse(error)
