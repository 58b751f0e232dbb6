"""The tokenize step: `text` in, padded `input_ids` and their mask and count out."""

import os
from collections.abc import Mapping, Sequence

from python_backends.tokenize.texts import TextTokenizer
from python_backends.triton import Request, Settings, read, refuse, respond


class TritonPythonModel:
    """Called by Triton."""

    def initialize(self, args: Mapping[str, str]) -> None:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        settings = Settings.read(args)
        self._tokenizer = TextTokenizer.load(
            settings.path("tokenizer", "tokenizer"), int(settings.parameters["context_length"])
        )

    def execute(self, requests: Sequence[Request]) -> list[object]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> object:
        try:
            return respond(self._tokenizer.read(read(request)))
        except Exception as error:  # one bad request must not fail those beside it
            return refuse(error)
