"""What the gateway sends to each kind of upstream for what a request may have.

Each cell is found by writing a request with the upstream's own code: where the value is in what is
sent, or that it is refused. The same cells are tested against servers on a socket.
"""

from collections.abc import Callable, Iterator
from typing import Any

from frontend.domain.generation import Conversation, Generation, Passage, Reply, TokenIds
from frontend.domain.messages import Image, Message, Text
from frontend.domain.sampling import Sampling
from frontend.domain.structure import Structure
from frontend.domain.tools import Function, Named, Tools
from frontend.errors import InvalidRequest
from frontend.upstreams import anthropic, ollama
from frontend.upstreams.openai import client as openai
from frontend.upstreams.openai import write
from frontend.upstreams.remote import Remote
from frontend.upstreams.triton import contract

REFUSED, NOT_SENT = "refused", "not sent"
MARK = 0.4375
"""A value that differs from every default, as the other marks do."""
_WORD = "mark-4375"
_COUNT = 4375
PNG = b"\x89PNG\r\n\x1a\nmark-4375"
_ASKED = Conversation((Message("user", "hello"),))
_SCHEMA = {"type": "object", "title": _WORD}
_TOOL = Function("look", {"type": "object"}, _WORD)


def _sampled(**fields: Any) -> Generation:
    return Generation(_ASKED, Sampling(**fields))


def _tools(choice: Any = "auto", parallel: bool | None = None) -> Generation:
    return Generation(_ASKED, reply=Reply(), tools=Tools((_TOOL,), (_TOOL,), choice, parallel))


def _structured(kind: Any, value: Any, path: str) -> Generation:
    return Generation(_ASKED, structure=Structure(kind, value, path))


FEATURES: dict[str, tuple[Generation, Any]] = {
    "`messages`": (Generation(Conversation((Message("user", _WORD),))), _WORD),
    "system message": (
        Generation(Conversation((Message("system", _WORD), *_ASKED.messages))), _WORD,
    ),
    "`image_url`": (
        Generation(Conversation((Message("user", (Text("what"), Image())),)), images=(PNG,)), None,
    ),
    "`prompt`": (Generation(Passage(_WORD)), _WORD),
    "`suffix`": (Generation(Passage("a", _WORD), reply=Reply()), _WORD),
    "`prompt` of token ids": (Generation(TokenIds([_COUNT])), _COUNT),
    "`max_tokens`": (_sampled(max_tokens=_COUNT), _COUNT),
    "`temperature`": (_sampled(temperature=MARK), MARK),
    "`top_p`": (_sampled(top_p=MARK), MARK),
    "`top_k`": (_sampled(top_k=_COUNT), _COUNT),
    "`min_p`": (_sampled(min_p=MARK), MARK),
    "`seed`": (_sampled(seed=_COUNT), _COUNT),
    "`stop`": (_sampled(stop=[_WORD]), _WORD),
    "`n`": (_sampled(n=_COUNT), _COUNT),
    "`presence_penalty`": (_sampled(presence_penalty=MARK), MARK),
    "`frequency_penalty`": (_sampled(frequency_penalty=MARK), MARK),
    "`repetition_penalty`": (_sampled(repetition_penalty=MARK), MARK),
    "`min_tokens`": (_sampled(min_tokens=_COUNT), _COUNT),
    "`logit_bias`": (_sampled(logit_bias={"7": MARK}), MARK),
    "`top_logprobs`": (_sampled(logprobs=_COUNT), _COUNT),
    "`prompt_logprobs`": (_sampled(prompt_logprobs=_COUNT), _COUNT),
    "another field of engines": (_sampled(extras={"length_penalty": MARK}), MARK),
    "`tools`": (_tools(), _WORD),
    "`tool_choice`: a function": (_tools(Named("look")), "look"),
    "`tool_choice`: `required`": (_tools("required"), ("required", "any")),
    "`response_format`: `json_schema`": (
        _structured("json", _SCHEMA, "response_format.json_schema"), _WORD,
    ),
    "`response_format`: `json_object`": (
        _structured("json_object", True, "response_format"), ("json_object", "json"),
    ),
    "`structured_outputs.regex`": (_structured("regex", _WORD, "structured_outputs"), _WORD),
    "`thinking_token_budget`": (_sampled(thinking_budget=_COUNT), _COUNT),
    "`cache_salt`": (Generation(_ASKED, cache_salt=_WORD), _WORD),
}  # fmt: skip
"""By what a client writes: the request, and the value to look for; None: the image's file."""
OPERATIONS = {
    "embeddings": "embed", "rerank": "rerank", "images": "draw", "`/tokenize`": "tokenize",
    "count of tokens": "count",
}  # fmt: skip
ENGINES: dict[str, Callable[[Generation], dict[str, Any]]] = {
    "triton": lambda one: {
        "prompt": contract.write_prompt(one),
        "sampling_parameters": contract.write_sampling(one),
        "reply": contract.write_reply(one),
        "images": one.images,
    },
    "vllm": lambda one: write.write_body("m", one, "vllm"),
    "llama.cpp": lambda one: write.write_body("m", one, "llama.cpp"),
    "openai": lambda one: write.write_body("m", one, "openai"),
    "ollama": lambda one: ollama.write_body("m", one),
    "anthropic": lambda one: anthropic.write_body("m", one, 8192),
}
REMOTES: dict[str, type[Remote]] = {
    "vllm": openai.OpenAi, "llama.cpp": openai.OpenAi, "openai": openai.OpenAi,
    "ollama": ollama.Ollama, "anthropic": anthropic.Anthropic,
}  # fmt: skip


def place_of(body: Any, mark: Any) -> str | None:
    """The path of a value in a body, the last one if there are several, without the numbers of
    lists."""
    found = [".".join(path) for path in _paths(body, mark)]
    return found[-1] if found else None


def _paths(value: Any, mark: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for name, part in value.items():
            if isinstance(mark, tuple) and name in mark:
                yield (*path, name)
            yield from _paths(part, mark, (*path, name))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _paths(part, mark, path)
    elif _is_mark(value, mark):
        yield path


def _is_mark(value: Any, mark: Any) -> bool:
    if mark is None:  # the file, as it is or in base64
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        return PNG[:6].decode("latin-1") in text or "iVBORw0K" in text
    return value in mark if isinstance(mark, tuple) else type(value) is type(mark) and value == mark


def cell(engine: str, feature: str) -> str:
    """Where the value of a feature is in what an engine gets, `REFUSED` or `NOT_SENT`."""
    generation, mark = FEATURES[feature]
    try:
        body = ENGINES[engine](generation)
    except InvalidRequest:
        return REFUSED
    return place_of(body, mark) or NOT_SENT


def offers(engine: str, operation: str) -> bool:
    """Whether a kind of upstream has an operation besides generating text."""
    if engine == "triton":
        return True
    return getattr(REMOTES[engine], operation) is not getattr(Remote, operation)


def features_page() -> str:
    """The table."""
    rows = ["# What upstreams are sent", ""]
    rows += ["Where a field of a request is in what each kind of upstream gets. `refused` means"]
    rows += ["a 400 that names the field, or another upstream of the model that takes it. `tgi`,"]
    rows += ["`lmstudio` and `mistral.rs` get what `llama.cpp` gets. Answers of all of them are"]
    rows += [
        "streamed, cancelled when the client goes away, and counted. A `cache_salt` is for the"
    ]
    rows += ["caches of prefixes of Triton's engines and of vLLM; others are not sent it.", ""]
    names = " | ".join(f"`{name}`" for name in ENGINES)
    rows += [f"| request | {names} |", "|---" * (len(ENGINES) + 1) + "|"]
    for feature in FEATURES:
        cells = [cell(engine, feature) for engine in ENGINES]
        shown = [one if one in (REFUSED, NOT_SENT) else f"`{one}`" for one in cells]
        rows.append(f"| {feature} | {' | '.join(shown)} |")
    for name, operation in OPERATIONS.items():
        shown = ["yes" if offers(engine, operation) else "501" for engine in ENGINES]
        rows.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(rows) + "\n"
