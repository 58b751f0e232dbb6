"""The engine step: passes Triton's requests to vLLM and streams its tokens back.

A request is a cancel, the contract's `token_ids`, or Triton's own `text_input`.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from python_backends.replies import Pace, Replies
from python_backends.stages import VARIABLE, open_stages
from python_backends.triton import Request, Settings, backend, end_process, read, text, unload
from python_backends.vllm_engine.engine import Engine
from python_backends.vllm_engine.process import prepare_process
from python_backends.vllm_engine.serving import Serving


class TritonPythonModel:
    """Called by Triton; `execute` returns at once."""

    def initialize(self, args: Mapping[str, str]) -> None:
        settings = Settings.read(args)
        stages = settings.text("stages", "")
        environment = settings.table("environment") | ({VARIABLE: stages} if stages else {})
        # before anything imports vLLM or torch, which read the environment at import
        prepare_process(environment, settings.gpus)
        self._stamp = open_stages(stages)
        self._engine = Engine(settings, backend().Logger, partial(unload, settings.model))
        self._engine.start()
        self._serving = Serving(self._engine, self._stamp)
        self._pace = Pace()

    def execute(self, requests: Sequence[Request]) -> None:
        for request in requests:
            self._take(request)

    def finalize(self) -> None:
        self._engine.stop()
        end_process()

    def _take(self, request: Request) -> None:
        if self._stamp is not None:
            self._stamp("engine in", request.request_id())
        replies = Replies(request.get_response_sender(), self._pace)
        try:
            # first: while the engine restarts, its request is not even decoded
            self._engine.check()
            arrays = read(request)
            if "cancel" in arrays:
                self._serving.cancel(text(arrays, "cancel") or "")
                replies.end()
            else:
                self._serving.submit(request.request_id(), arrays, request.parameters(), replies)
        except Exception as error:  # a stream that is not ended hangs its client
            replies.fail(error)
