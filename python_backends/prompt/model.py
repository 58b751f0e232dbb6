"""The prompt step: `prompt` JSON in, `token_ids` out, and `text` on request. It reads only its
tokenizer folder.

With the parameter `adapter`, each response also contains the name of that LoRA adapter.
"""

import os
from collections.abc import Mapping, Sequence

from python_backends.prompt.metered import DEFAULT_LIMITS, Limits
from python_backends.prompt.rendering import Renderer
from python_backends.stages import open_stages
from python_backends.torchless import leave_out_torch
from python_backends.triton import (
    Request,
    Settings,
    end_process,
    json_object,
    read,
    refuse,
    respond,
    texts,
)


def _limits(settings: Settings) -> Limits:
    default = DEFAULT_LIMITS
    return Limits(
        settings.number("max_text_bytes", default.text_bytes),
        settings.number("max_template_operations", default.template_operations),
        settings.number("max_template_kwargs_bytes", default.template_kwargs_bytes),
    )


class TritonPythonModel:
    """Called by Triton."""

    def initialize(self, args: Mapping[str, str]) -> None:
        leave_out_torch()
        os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
        settings = Settings.read(args)
        self._renderer = Renderer.load(
            settings.path("tokenizer", "tokenizer"),
            int(settings.parameters["context_length"]),
            settings.parameters.get("toolkit.fim"),
            _limits(settings),
        )
        self._stamp = open_stages(settings.text("stages", ""))
        adapter = settings.text("adapter", "")
        self._fixed = {"adapter": texts([adapter.encode()])} if adapter else {}

    def execute(self, requests: Sequence[Request]) -> list[object]:
        return [self._answer(request) for request in requests]

    def finalize(self) -> None:
        end_process()

    def _answer(self, request: Request) -> object:
        if self._stamp is None:
            return self._render(request)
        self._stamp("prompt in", request.request_id())
        answer = self._render(request)
        self._stamp("prompt out", request.request_id())
        return answer

    def _render(self, request: Request) -> object:
        try:
            prompt = json_object(read(request), "prompt") or {}
            return respond({**self._renderer.answer(prompt), **self._fixed})
        except Exception as error:  # one bad request must not fail those beside it
            return refuse(error)
