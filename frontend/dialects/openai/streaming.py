"""The fields for sending an answer: whole or streamed, with usage or token ids. Pure."""

from dataclasses import dataclass
from typing import Annotated

from frontend.dialects.declare import Body, Off, about
from frontend.dialects.openai.sampling import Sampled
from frontend.dialects.refusal import refuse


class StreamOptionsBody(Body, kw_only=True):
    """Options of the stream."""

    include_usage: Annotated[bool | None, about("Whether a last chunk contains the usage.")] = None
    continuous_usage_stats: Annotated[
        bool | None, about("With include_usage: whether every chunk contains the usage so far.")
    ] = None
    include_obfuscation: Annotated[
        Off | None, about("Only false: streams are not padded.", reason="streams are not padded")
    ] = None


class Streamed(Sampled, kw_only=True):
    """How the answer is sent."""

    stream: Annotated[
        bool | None, about("Send the answer as server-sent events while it is generated.")
    ] = None
    stream_options: Annotated[StreamOptionsBody | None, about("Options of the stream.")] = None
    return_token_ids: Annotated[bool | None, about("Return token ids beside the text.")] = None


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """Whether a stream contains usage: not, at its end, or also in every chunk."""

    usage: bool = False
    continuous_usage: bool = False


def make_stream_options(body: Streamed) -> StreamOptions:
    """Raises InvalidRequest if the answer is not streamed."""
    options = body.stream_options
    if options is None:
        return StreamOptions()
    if not body.stream:
        raise refuse("stream_options", "is only allowed with 'stream': true")
    usage = bool(options.include_usage)
    return StreamOptions(usage, usage and bool(options.continuous_usage_stats))
