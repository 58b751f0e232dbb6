"""The echo step: a scripted engine, encoder or image generator, as its `mode` parameter says.

Its tensors are those of the real steps and it needs no weights, so that tests can reproduce rare
cases on a real server.
"""

from collections.abc import Mapping, Sequence

from python_backends.echo import paint, vectors
from python_backends.echo.engine import EchoEngine
from python_backends.replies import Pace, Replies, encode
from python_backends.triton import Request, Settings, read, refuse, respond, text, texts


class TritonPythonModel:
    """Called by Triton."""

    def initialize(self, args: Mapping[str, str]) -> None:
        self._settings = Settings.read(args)
        self._mode = self._settings.text("mode", "llm")
        self._engine = EchoEngine(self._settings.number("context_length", 4096))
        self._pace = Pace()

    def execute(self, requests: Sequence[Request]) -> list[object] | None:
        if self._mode == "llm":
            for request in requests:
                self._stream(request)
            return None
        return [self._answer(request) for request in requests]

    def finalize(self) -> None:
        self._engine.stop()

    def _stream(self, request: Request) -> None:
        replies = Replies(request.get_response_sender(), self._pace)
        arrays = read(request)
        if "cancel" in arrays:
            self._engine.cancel(text(arrays, "cancel") or "")
            replies.end()
        elif "stats" in arrays:
            report = self._engine.report(text(arrays, "stats") or "")
            replies.send({"stats": texts([encode(report)])}, final=True)
        else:
            self._engine.submit(request.request_id(), arrays, replies)

    def _answer(self, request: Request) -> object:
        try:
            if self._mode == "embedding":
                return respond(vectors.embed(read(request), self._settings))
            return respond(paint.draw(read(request)))
        except Exception as error:  # whatever it is, this request's caller gets an error
            return refuse(error)
