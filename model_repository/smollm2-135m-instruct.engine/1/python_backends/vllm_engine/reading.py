"""How replies are read: reasoning, content and tool calls told apart by vLLM's own parsers.

A request that asks for tools also constrains what the engine writes, as its parser wants it. What
the readers hand on, joined, is all that the model wrote but the marks of its format.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from python_backends.errors import InvalidInput
from python_backends.templates import Parsers, read_parsers
from python_backends.triton import Logger, Settings
from python_backends.vllm_engine.alternatives import widen
from python_backends.vllm_engine.held import MARKS, HeldReader, HeldText, Marks
from python_backends.vllm_engine.pieces import End, Piece, Reader, WithoutBlanks
from python_backends.vllm_engine.sampling import STRUCTURED, check_names

_FIELDS = (
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "chat_template_kwargs",
    "include_reasoning",
)


@dataclass(frozen=True, slots=True)
class Reading:
    """One request's way to be read: what the engine must obey, and a reader per completion."""

    sampling: Mapping[str, Any]
    constrains: bool
    """Whether the calls, not the request itself, say what the reply must match."""
    _parser: Any
    _request: Any
    _options: Mapping[str, Any]
    _make: Callable[[Any], Any]
    _logger: Logger
    _marks: Marks | None
    """What calls begin with that are to be read at the end; None for those that come in deltas."""
    _talk: Any
    """The parser that knows no calls."""

    def readers(self, count: int, prompt_token_ids: Sequence[int]) -> list[Reader]:
        """Readers with a state of their own."""
        first, others = self._parser, [self._make(type(self._parser)) for _ in range(count - 1)]
        return [self._reader(one, prompt_token_ids) for one in (first, *others)]

    def _reader(self, parser: Any, prompt_token_ids: Sequence[int]) -> Reader:
        request = self._request
        calls = bool(request.tools) and request.tool_choice != "none"
        told_at_once = parser if self._marks is None else self._make(self._talk)
        reader: Reader = _Reader(told_at_once, request, prompt_token_ids, self._logger)
        if self._marks is not None:
            find = partial(_calls_of, parser, request, self._logger)
            named = not isinstance(request.tool_choice, str | None)
            reader = HeldReader(reader, HeldText(self._marks), find, named=named)
        return WithoutBlanks(reader) if calls else reader

    def engine_arguments(self, prompt_token_ids: Sequence[int]) -> dict[str, Any]:
        """From where on the engine is to enforce a structure: behind the reasoning."""
        if self._parser.reasoning_parser is None:
            return {}
        return {
            "reasoning_ended": self._parser.is_reasoning_end(list(prompt_token_ids)),
            "reasoning_parser_kwargs": {"chat_template_kwargs": dict(self._options)},
        }


class Readings:
    """Opens a `Reading` per request, with the parsers of one model."""

    def __init__(self, parsers: Parsers, llm: Any, logger: Logger) -> None:
        self.parsers = parsers
        self._tokenizer = llm.get_tokenizer()
        self._model_config = llm.model_config
        self._logger = logger
        self._free, self._forced, self._either = _parser_classes(parsers, self._tokenizer)
        self._talk, _, _ = _parser_classes(Parsers(None, parsers.reasoning), self._tokenizer)

    def open(self, reply: Mapping[str, Any], sampling: Mapping[str, Any]) -> Reading | None:
        """None when the reply is all content. Raises InvalidInput for tools that cannot be used."""
        check_names(reply, _FIELDS, "reply.")
        if not reply.get("tools") and self.parsers.reasoning is None:
            return None
        if _is_forced(reply):  # then the call is the answer
            sampling = {n: value for n, value in sampling.items() if n != "structured_outputs"}
        request = _request(reply, sampling)
        may_call = bool(request.tools) and request.tool_choice == "auto"
        either = may_call and request.structured_outputs is not None
        parser_class = self._parser_class(request, either=either)
        options = reply.get("chat_template_kwargs") or {}

        def make(chosen: Any) -> Any:
            return chosen(
                self._tokenizer,
                request.tools,
                chat_template_kwargs=dict(options),
                model_config=self._model_config,
            )

        parser = make(parser_class)
        try:
            request = parser.adjust_request(request)
            if either:
                request = widen(request, self.parsers.tool or "")
        except (ValueError, TypeError) as error:
            raise InvalidInput(f"the tools cannot be used: {error}", param="tools") from error
        obeying = _obeying(sampling, request)
        constrains = obeying.get("structured_outputs") != sampling.get("structured_outputs")
        constrains = constrains and not either
        return Reading(
            obeying, constrains, parser, request, options, make, self._logger,
            self._marks(parser, request), self._talk or _delegating(),
        )  # fmt: skip

    def _marks(self, parser: Any, request: Any) -> Marks | None:
        """None also where calls are not written in the model's own format."""
        tools = parser.tool_parser
        if tools is None or not request.tools or request.tool_choice == "none":
            return None
        if request.tool_choice != "auto" and tools.supports_required_and_named:
            return None
        if self.parsers.tool == "mistral" and "[ARGS]" in self._tokenizer.get_vocab():
            return None  # a later format, which is read well as it comes
        return MARKS.get(self.parsers.tool or "")

    def _parser_class(self, request: Any, *, either: bool) -> Any:
        from vllm.tool_parsers.abstract_tool_parser import (  # type: ignore[import-not-found]
            ToolParser,
        )

        forced = request.tools and request.tool_choice not in (None, "none", "auto")
        if self.parsers.tool is None and request.tools and request.tool_choice == "auto":
            raise InvalidInput(
                "'tool_choice' is 'auto', but no parser for this model's tool calls is known; set"
                " 'tool_parser' for the model, or send 'required' or a function's name",
                code="unsupported_value",
                param="tool_choice",
            )
        chosen = self._forced if forced else self._either if either else self._free
        if self.parsers.tool is not None or not forced:
            return chosen if chosen is not None else _delegating()

        class Plain(_delegating()):  # type: ignore[misc]
            """A JSON list of calls, or one call's arguments: any model can be made to write it."""

            reasoning_parser_cls = getattr(chosen, "reasoning_parser_cls", None)
            tool_parser_cls = ToolParser

        return Plain


def _is_forced(reply: Mapping[str, Any]) -> bool:
    choice = reply.get("tool_choice")
    return bool(reply.get("tools")) and (choice == "required" or isinstance(choice, Mapping))


def _delegating() -> Any:
    """vLLM's parser of parsers, with none yet."""
    from vllm.parser.abstract_parser import (  # type: ignore[import-not-found]
        DelegatingParser,
    )

    return DelegatingParser


def _calls_of(parser: Any, request: Any, logger: Logger, text: str) -> list[dict[str, Any]] | None:
    """The calls in a whole text, each in one delta; None where it has none."""
    try:
        found = parser.extract_tool_calls(text, request)
    except Exception as error:  # a parser's fault must not end the request
        logger.log_error(f"a reply cannot be read by its parser: {error!r}")
        return None
    if not found.tools_called:
        return None
    calls = [
        {
            "index": number,
            "id": call.id,
            "name": call.function.name,
            "arguments": call.function.arguments,
        }
        for number, call in enumerate(found.tool_calls)
    ]
    return calls[:1] if request.parallel_tool_calls is False else calls


def fit_parsers(settings: Settings, arguments: Mapping[str, Any], logger: Logger) -> Parsers:
    """The parsers that the step's config names; what it leaves open the model's template decides.

    Looked for before the engine is built, because its core must know where reasoning ends. Raises
    what vLLM raises for a parser that was named and does not fit the tokenizer.
    """
    named = Parsers(
        settings.parameters.get("toolkit.tool_parser") or None,
        settings.parameters.get("toolkit.reasoning_parser") or None,
    )
    found = read_parsers(Path(arguments.get("tokenizer") or arguments["model"]))
    parsers = Parsers(named.tool or found.tool, named.reasoning or found.reasoning)
    if parsers != Parsers():
        from vllm.tokenizers import get_tokenizer  # type: ignore[import-not-found]

        tokenizer = get_tokenizer(
            arguments.get("tokenizer") or arguments["model"],
            tokenizer_mode=arguments.get("tokenizer_mode", "auto"),
            trust_remote_code=bool(arguments.get("trust_remote_code")),
        )
        try:
            _parser_classes(parsers, tokenizer)
        except Exception as error:  # parsers raise what they like in their constructors
            if parsers == named:
                raise
            logger.log_warn(f"replies of '{settings.model}' are not read by {parsers}: {error}")
            _parser_classes(named, tokenizer)
            parsers = named
    logger.log_info(f"replies of '{settings.model}' are read by {parsers}")
    return parsers


def _parser_classes(parsers: Parsers, tokenizer: Any) -> tuple[Any, Any, Any]:
    """vLLM's parser classes for free calls, for forced ones, and for calls or an answer.

    In forced calls the arguments obey their schema also where the tool is not called strict; beside
    an answer whose structure is enforced the calls must have a grammar, too.
    """
    from vllm.parser import ParserManager  # type: ignore[import-not-found]

    def at(level: str) -> Any:
        found = ParserManager.get_parser(
            parsers.tool,
            parsers.reasoning,
            enable_auto_tools=True,
            is_harmony=parsers.tool == "openai",
            tool_strict_level=level,
            tokenizer=tokenizer,
        )
        if found is None:
            return None
        # some formats have one class, whose level is that of the last call
        return type(found.__name__, (found,), {"tool_strict_level": found.tool_strict_level})

    return at("auto"), at("parameter"), at("function")


def _request(reply: Mapping[str, Any], sampling: Mapping[str, Any]) -> Any:
    """vLLM's own request object, which its parsers read; the messages are the prompt step's."""
    from pydantic import ValidationError
    from vllm.entrypoints.openai.chat_completion.protocol import (  # type: ignore[import-not-found]
        ChatCompletionRequest,
    )
    from vllm.sampling_params import (  # type: ignore[import-not-found]
        StructuredOutputsParams,
    )

    tools = reply.get("tools") or None
    choice = reply.get("tool_choice") or ("auto" if tools else None)
    if isinstance(choice, Mapping):
        choice = {"type": "function", "function": {"name": choice.get("name")}}
    structured = sampling.get("structured_outputs")
    if isinstance(structured, Mapping):
        check_names(structured, StructuredOutputsParams.__dataclass_fields__, "structured_outputs.")
    try:
        return ChatCompletionRequest(
            messages=[{"role": "user", "content": ""}],
            tools=tools,
            **({"tool_choice": choice} if tools else {}),
            parallel_tool_calls=reply.get("parallel_tool_calls", True),
            chat_template_kwargs=reply.get("chat_template_kwargs"),
            include_reasoning=reply.get("include_reasoning", True),
            structured_outputs=StructuredOutputsParams(**structured) if structured else None,
            skip_special_tokens=sampling.get("skip_special_tokens", True),
        )
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"] if part != "function-wrap")
        raise InvalidInput(f"'{place or 'tools'}': {problem['msg']}", param="tools") from error


def _obeying(sampling: Mapping[str, Any], request: Any) -> dict[str, Any]:
    """The sampling parameters with what the parser added."""
    changed = {**sampling, "skip_special_tokens": request.skip_special_tokens}
    wanted = request.structured_outputs
    if wanted is None:
        changed.pop("structured_outputs", None)
    else:
        given = {name: getattr(wanted, name) for name in STRUCTURED}
        kept = {name: value for name, value in given.items() if value is not None}
        options = sampling.get("structured_outputs") or {}
        changed["structured_outputs"] = {
            **{name: value for name, value in options.items() if name not in STRUCTURED},
            **kept,
        }
    return changed


class _Reader:
    """vLLM's parser of one completion. One that fails hands on what is left as it is."""

    def __init__(
        self, parser: Any, request: Any, prompt_token_ids: Sequence[int], logger: Logger
    ) -> None:
        self._parser = parser
        self._request = request
        self._prompt = list(prompt_token_ids)
        self._logger = logger
        self._written: list[int] = []
        self._called = False
        self._broken = False
        self.unread = ""

    def read(self, text: str, token_ids: Sequence[int], *, end: End) -> Piece:
        if self._broken:
            return Piece(text)
        ids = list(token_ids)
        if self._parser.reasoning_parser is not None:
            self._written += ids
        self.unread += text
        try:
            piece = self._parse(text, ids, finished=end is End.NATURAL)
            if end is End.CUT:  # parsers now close what is open; the model wrote no such call
                last = self._parse("", [], finished=True)
                piece.text, piece.reasoning = (
                    piece.text + last.text,
                    piece.reasoning + last.reasoning,
                )
        except Exception as error:  # a parser's fault must not end the request
            self._logger.log_error(f"a reply cannot be read by its parser: {error!r}")
            self._broken, self.unread = True, ""
            return Piece(text)
        self._called = self._called or bool(piece.tool_calls)
        if piece.text or piece.reasoning or self._is_reasoning():
            self.unread = ""
        return piece

    def _parse(self, text: str, ids: list[int], *, finished: bool) -> Piece:
        was_reasoning = self._is_reasoning()
        delta = self._parser.parse_delta(
            text, ids, self._request, prompt_token_ids=self._prompt, finished=finished
        )
        if was_reasoning and not self._is_reasoning():
            self.unread = ""  # the mark that ends it
        return Piece() if delta is None else self._piece(delta)

    def _is_reasoning(self) -> bool:
        """Before the first token that is content."""
        state = self._parser._stream_state
        return self._parser.reasoning_parser is not None and not state.reasoning_ended

    def _piece(self, delta: Any) -> Piece:
        calls = [self._call(call) for call in delta.tool_calls or ()]
        if self._request.parallel_tool_calls is False:
            calls = [call for call in calls if call["index"] == 0]
        return Piece(delta.content or "", delta.reasoning or "", calls)

    def _call(self, call: Any) -> dict[str, Any]:
        written: dict[str, Any] = {"index": call.index}
        if call.id is not None:
            written["id"] = call.id
        function = call.function
        if function is not None and function.name:
            written["name"] = function.name
        written["arguments"] = (function.arguments if function is not None else None) or ""
        return written

    def finish_reason(self, reason: str | None) -> str | None:
        """As OpenAI has it: a function that the request named ends with `stop`."""
        named = not isinstance(self._request.tool_choice, str | None)
        return "tool_calls" if self._called and reason == "stop" and not named else reason

    def reasoning_tokens(self) -> int:
        if self._parser.reasoning_parser is None:
            return 0
        return int(self._parser.count_reasoning_tokens(tuple(self._written)))
