"""Parses replies into reasoning, content and tool calls with vLLM's own parsers.

For a request with tools the parser may also constrain what the engine generates. The readers return
everything that the model wrote, except the markers of its format.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from python_backends.errors import InvalidInput
from python_backends.templates import Parsers, read_parsers
from python_backends.triton import Logger, Settings
from python_backends.vllm_engine.alternatives import allow_calls
from python_backends.vllm_engine.deferred import MARKS, DeferredReader, DeferredText, Marks
from python_backends.vllm_engine.delta import Reader, TrimmedReader
from python_backends.vllm_engine.reader import ParserReader, calls_of
from python_backends.vllm_engine.sampling import STRUCTURED, check_names

_FIELDS = (
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "chat_template_kwargs",
    "include_reasoning",
)


@dataclass(frozen=True, slots=True)
class ReplyParser:
    """The parsing of one request's reply: the constrained sampling, and a reader per completion."""

    sampling: Mapping[str, Any]
    constrains: bool
    """Whether the grammar of the reply comes from the tools, not from the request itself."""
    _parser: Any
    _request: Any
    _options: Mapping[str, Any]
    _make: Callable[[Any], Any]
    _logger: Logger
    _marks: Marks | None
    """How deferred calls start; None for formats whose calls are streamed."""
    _talk: Any
    """The parser that does not parse calls."""

    def readers(self, count: int, prompt_token_ids: Sequence[int]) -> list[Reader]:
        """One reader per completion, each with its own state."""
        first, others = self._parser, [self._make(type(self._parser)) for _ in range(count - 1)]
        return [self._reader(one, prompt_token_ids) for one in (first, *others)]

    def _reader(self, parser: Any, prompt_token_ids: Sequence[int]) -> Reader:
        request = self._request
        calls = bool(request.tools) and request.tool_choice != "none"
        streaming_parser = parser if self._marks is None else self._make(self._talk)
        reader: Reader = ParserReader(streaming_parser, request, prompt_token_ids, self._logger)
        if self._marks is not None:
            find = partial(calls_of, parser, request, self._logger)
            named = not isinstance(request.tool_choice, str | None)
            reader = DeferredReader(reader, DeferredText(self._marks), find, named=named)
        return TrimmedReader(reader) if calls else reader

    def engine_arguments(self, prompt_token_ids: Sequence[int]) -> dict[str, Any]:
        """Makes the engine enforce a grammar only after the reasoning."""
        if self._parser.reasoning_parser is None:
            return {}
        return {
            "reasoning_ended": self._parser.is_reasoning_end(list(prompt_token_ids)),
            "reasoning_parser_kwargs": {"chat_template_kwargs": dict(self._options)},
        }


class ReplyParsers:
    """Opens a `ReplyParser` per request, with the parsers of one model."""

    def __init__(self, parsers: Parsers, llm: Any, logger: Logger) -> None:
        self.parsers = parsers
        self._tokenizer = llm.get_tokenizer()
        self._model_config = llm.model_config
        self._logger = logger
        self._free, self._forced, self._either = _parser_classes(parsers, self._tokenizer)
        # for deferred formats the text is streamed by a parser that does not look for calls
        self._talk, _, _ = _parser_classes(Parsers(None, parsers.reasoning), self._tokenizer)

    def open(self, reply: Mapping[str, Any], sampling: Mapping[str, Any]) -> ReplyParser | None:
        """None when the reply has only content. Raises InvalidInput for tools that cannot be
        used."""
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
                request = allow_calls(request, self.parsers.tool or "")
        except (ValueError, TypeError) as error:
            raise InvalidInput(f"the tools cannot be used: {error}", param="tools") from error
        constrained = _constrained_sampling(sampling, request)
        constrains = constrained.get("structured_outputs") != sampling.get("structured_outputs")
        # beside an answer the fault may be in the client's own schema, so it is named after that
        constrains = constrains and not either
        return ReplyParser(
            constrained, constrains, parser, request, options, make, self._logger,
            self._marks(parser, request), self._talk or _delegating(),
        )  # fmt: skip

    def _marks(self, parser: Any, request: Any) -> Marks | None:
        """None also when calls are not in the model's own format."""
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
                "'tool_choice' is 'auto', but this model has no tool call parser; set"
                " 'tool_parser' for the model, or send 'required' or a function's name",
                code="unsupported_value",
                param="tool_choice",
            )
        chosen = self._forced if forced else self._either if either else self._free
        if self.parsers.tool is not None or not forced:
            return chosen if chosen is not None else _delegating()

        class Plain(_delegating()):  # type: ignore[misc]
            """A JSON list of calls, or one call's arguments, which any model can be constrained to
            write."""

            reasoning_parser_cls = getattr(chosen, "reasoning_parser_cls", None)
            tool_parser_cls = ToolParser

        return Plain


def _is_forced(reply: Mapping[str, Any]) -> bool:
    choice = reply.get("tool_choice")
    return bool(reply.get("tools")) and (choice == "required" or isinstance(choice, Mapping))


def _delegating() -> Any:
    """vLLM's combined parser, without parsers."""
    from vllm.parser.abstract_parser import (  # type: ignore[import-not-found]
        DelegatingParser,
    )

    return DelegatingParser


def fit_parsers(settings: Settings, arguments: Mapping[str, Any], logger: Logger) -> Parsers:
    """The parsers named in the step's config, or else those that fit the model's chat template.

    They are chosen before the engine starts, because its core must know where reasoning ends.
    Raises vLLM's exception for a named parser that does not fit the tokenizer.
    """
    named = Parsers(
        settings.parameters.get("toolkit.tool_parser") or None,
        settings.parameters.get("toolkit.reasoning_parser") or None,
    )
    detected = read_parsers(Path(arguments.get("tokenizer") or arguments["model"]))
    parsers = Parsers(named.tool or detected.tool, named.reasoning or detected.reasoning)
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
            logger.log_warn(
                f"replies of '{settings.model}' cannot be parsed with {parsers}: {error}"
            )
            _parser_classes(named, tokenizer)
            parsers = named
    logger.log_info(f"replies of '{settings.model}' are parsed with {parsers}")
    return parsers


def _parser_classes(parsers: Parsers, tokenizer: Any) -> tuple[Any, Any, Any]:
    """vLLM's parser classes for free calls, for forced ones, and for calls or an answer.

    In forced calls the arguments obey their schema also where the tool is not called strict; beside
    an answer whose structure is enforced the calls must have a grammar, too.
    """
    from vllm.parser import ParserManager  # type: ignore[import-not-found]

    def at(level: str) -> Any:
        parser_class = ParserManager.get_parser(
            parsers.tool,
            parsers.reasoning,
            enable_auto_tools=True,
            is_harmony=parsers.tool == "openai",
            tool_strict_level=level,
            tokenizer=tokenizer,
        )
        if parser_class is None:
            return None
        # some formats have one class, whose level is that of the last call
        return type(
            parser_class.__name__,
            (parser_class,),
            {"tool_strict_level": parser_class.tool_strict_level},
        )

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
            # vLLM demands a message; its parsers do not read any
            messages=[{"role": "user", "content": ""}],
            tools=tools,
            **({"tool_choice": choice} if tools else {}),
            parallel_tool_calls=reply.get("parallel_tool_calls", True),
            chat_template_kwargs=reply.get("chat_template_kwargs"),
            include_reasoning=reply.get("include_reasoning", True),
            structured_outputs=StructuredOutputsParams(**structured) if structured else None,
            # parsers may turn this off: the marks of some formats are special tokens
            skip_special_tokens=sampling.get("skip_special_tokens", True),
        )
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"] if part != "function-wrap")
        raise InvalidInput(f"'{place or 'tools'}': {problem['msg']}", param="tools") from error


def _constrained_sampling(sampling: Mapping[str, Any], request: Any) -> dict[str, Any]:
    """The sampling parameters with the parser's changes."""
    changed = {**sampling, "skip_special_tokens": request.skip_special_tokens}
    structured = request.structured_outputs
    if structured is None:
        changed.pop("structured_outputs", None)
    else:
        given = {name: getattr(structured, name) for name in STRUCTURED}
        kept = {name: value for name, value in given.items() if value is not None}
        options = sampling.get("structured_outputs") or {}
        changed["structured_outputs"] = {
            **{name: value for name, value in options.items() if name not in STRUCTURED},
            **kept,
        }
    return changed
