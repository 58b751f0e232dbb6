"""Whether a request's texts can fit its model, by their bytes, before anything is tokenized.

Pure. What a token stands for has a longest text, so a context has a largest text (`toolkit`'s
parameter `max_text_bytes`). Where texts are cut to fit only the request's total counts.
"""

from collections.abc import Iterable

import orjson

from frontend.domain.generation import Conversation, Generation, Passage, TokenIds
from frontend.domain.images import ImageRequest
from frontend.domain.messages import Message, Text
from frontend.domain.models import Model
from frontend.domain.vectors import Embedding, Pairs
from frontend.errors import ContextOverflow, InvalidRequest
from frontend.scheduling.cost import BYTES_PER_TOKEN

_PER_MESSAGE = 32  # bytes of its role and marks


def estimate(generation: Generation) -> int:
    """About how many tokens a prompt has, where nobody counts them."""
    if isinstance(generation.prompt, TokenIds):
        return len(generation.prompt.ids)
    return max(1, round(bytes_of(generation) / BYTES_PER_TOKEN))


def estimate_texts(texts: Iterable[str]) -> int:
    """About how many tokens texts have together."""
    return round(size_of(texts) / BYTES_PER_TOKEN)


def check_generations(model: Model, generations: Iterable[Generation], total: int) -> None:
    """Raises InvalidRequest for a prompt beyond the model's bound, or prompts beyond `total`."""
    size, param = 0, None
    for generation in generations:
        param = generation.param
        shown = size_of(_texts(generation))
        if generation.truncation is None:
            _check(model, shown, param)
        size += shown + _rest(generation)
    _check_total(size, total, param)


def check_embedding(model: Model, embedding: Embedding, total: int) -> None:
    """Raises InvalidRequest naming the text, or for texts beyond `total`."""
    texts = embedding.texts
    for number, text in enumerate(() if embedding.truncate else texts):
        _check(model, size_of([text]), "input" if len(texts) == 1 else f"input[{number}]")
    _check_total(size_of(texts), total, "input")


def check_pairs(model: Model, pairs: Pairs, total: int) -> None:
    """Raises InvalidRequest naming query or document, or for pairs beyond `total`."""
    query_param, document_param = pairs.params
    # the same query is in many pairs
    queries = {query: size_of([query]) for query in set(pairs.queries)}
    for size in queries.values():
        _check(model, size, query_param)
    documents = [size_of([document]) for document in pairs.documents]
    for number, size in enumerate(() if pairs.truncate else documents):
        _check(model, size, f"{document_param}[{number}]")
    _check_total(
        sum(map(queries.__getitem__, pairs.queries)) + sum(documents), total, document_param
    )


def check_image(model: Model, image: ImageRequest) -> None:
    """Raises InvalidRequest naming the prompt that is too long."""
    _check(model, size_of([image.prompt]), "prompt")
    _check(model, size_of([image.negative_prompt or ""]), "negative_prompt")


def bytes_of(generation: Generation) -> int:
    """Bytes of all that a prompt is made of."""
    if generation.known_bytes is None:
        size = size_of(_texts(generation)) + _rest(generation)
        object.__setattr__(generation, "known_bytes", size)
        return size
    return generation.known_bytes


def size_of(texts: Iterable[str]) -> int:
    """Bytes of texts in UTF-8."""
    # ASCII has as many bytes as characters, so that most texts are not copied
    return sum(len(text) if text.isascii() else len(text.encode()) for text in texts)


def _texts(generation: Generation) -> Iterable[str]:
    """What a prompt surely shows its model: a template may omit earlier reasoning."""
    prompt = generation.prompt
    if isinstance(prompt, Conversation):
        for message in prompt.messages:
            yield from _contents(message)
    elif isinstance(prompt, Passage):
        yield prompt.text
        yield prompt.suffix or ""


def _contents(message: Message) -> Iterable[str]:
    if isinstance(message.content, str):
        return (message.content,)
    return (part.text for part in message.content if isinstance(part, Text))


def _rest(generation: Generation) -> int:
    """Bytes of everything besides the texts: tools, earlier calls and reasoning, token ids."""
    prompt = generation.prompt
    size = 0 if generation.tools is None else len(orjson.dumps(generation.tools.declared))
    if isinstance(prompt, Passage):
        return size
    if not isinstance(prompt, Conversation):
        return size + len(orjson.dumps(prompt.ids))
    if prompt.prefix:
        size += len(orjson.dumps(prompt.prefix))
    for message in prompt.messages:
        if message.calls or message.reasoning:
            size += size_of([message.reasoning or "", *(c.arguments for c in message.calls)])
    return size + _PER_MESSAGE * len(prompt.messages)


def _check(model: Model, size: int, param: str) -> None:
    most = model.max_text_bytes
    if most is not None and size > most:
        problem = (
            f"'{param}' has {size} bytes of text; the model '{model.name}' takes at most {most}"
            f" bytes, which is the longest text of {model.context_length or 'its'} tokens;"
            " shorten it"
        )
        if model.context_length is None:
            raise InvalidRequest(problem, param=param, code=ContextOverflow.code)
        raise ContextOverflow(problem, param=param, limit=model.context_length)


def _check_total(size: int, most: int, param: str | None) -> None:
    if size > most:
        raise InvalidRequest(
            f"the texts of the request have {size} bytes in all; at most {most} are allowed; send"
            " fewer at a time",
            param=param,
            code="request_too_large",
        )
