"""The messages in the body of `/v1/chat/completions`, one declaration for each role."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from frontend.dialects.declare import Body, Empty, Object, Off, Open, Refused, about

MAX_CALLS = 1024  # in one message
_CONTENT = "must be a string or a list of content parts"
_CALLS = "only assistant messages have calls"
_ASSISTANT = "only assistant messages have it"
_TOOL = "only messages of the role 'tool' have it"
TAKEN = ("only text and images are supported", "unsupported_content")


class _Marked(Body, kw_only=True):
    """Hints for caches and marks of clients: they change no answer."""

    cache_control: Annotated[Any, about("Accepted and not needed.")] = None
    prompt_cache_breakpoint: Annotated[Any, about("Accepted and not needed.")] = None
    id: Annotated[Any, about("Ignored.")] = None
    annotations: Annotated[Any, about("Ignored.")] = None
    provider_options: Annotated[Any, about("Ignored.")] = None


class TextPart(_Marked, tag_field="type", tag="text", kw_only=True):
    """Text."""

    text: Annotated[str, about("The text.")]


class ImageUrl(Body, kw_only=True):
    """Where an image is."""

    url: Annotated[str | None, about("An 'https:' URL, or a 'data:' URL with the file.")] = None
    detail: Annotated[
        Literal["auto", "low", "high", "original"] | None,
        about("Ignored: images have one level of detail."),
    ] = None


class ImagePart(_Marked, tag_field="type", tag="image_url", kw_only=True):
    """An image."""

    image_url: Annotated[ImageUrl | None, about("The image.")] = None


_Part = Annotated[TextPart | ImagePart, Meta(extra={"unknown": TAKEN})]


class _Said(_Marked, kw_only=True):
    """A message of anyone but the assistant."""

    content: Annotated[str | list[_Part], about("A text, or parts.", says=_CONTENT)]
    name: Annotated[str | None, about("Who speaks.")] = None
    tool_calls: Annotated[Empty | None, about("Refused.", reason=_CALLS)] = None
    function_call: Annotated[Empty | None, about("Refused.", reason=_CALLS)] = None
    refusal: Annotated[Literal[""] | None, about("Refused.", reason=_ASSISTANT)] = None
    reasoning_content: Annotated[Literal[""] | None, about("Refused.", reason=_ASSISTANT)] = None
    reasoning: Annotated[Literal[""] | None, about("Refused.", reason=_ASSISTANT)] = None
    audio: Annotated[Refused | None, about("Refused.", reason="audio is not supported")] = None


class _Asked(_Said, kw_only=True):
    tool_call_id: Annotated[Refused | None, about("Refused.", reason=_TOOL)] = None


class System(_Asked, tag_field="role", tag="system"):
    """Instructions."""


class Developer(_Asked, tag_field="role", tag="developer"):
    """Instructions, under their newer name."""


class User(_Asked, tag_field="role", tag="user"):
    """A user's message."""


class Tool(_Said, tag_field="role", tag="tool", kw_only=True):
    """The result of a tool."""

    tool_call_id: Annotated[str, about("The id of the call.")]
    status: Annotated[Any, about("Ignored.")] = None
    is_error: Annotated[Any, about("Ignored.")] = None
    artifact: Annotated[Any, about("Ignored.")] = None


class Function(_Asked, tag_field="role", tag="function"):
    """The result of a function, in the older form without tools."""


class CalledFunction(Open, kw_only=True):
    """The function of a call."""

    name: Annotated[str, about("The function's name.")]
    arguments: Annotated[
        str | Object | None,
        about("The arguments as JSON.", must_be="a JSON object as a string"),
    ] = None


class Call(Open, kw_only=True):
    """A call, as SDKs of different servers send it."""

    type: Annotated[Literal["function"] | None, about("Always 'function'.")] = None
    id: Annotated[str | None, about("The call's id.")] = None
    function: Annotated[CalledFunction, about("The function and its arguments.")]


_Calls = Annotated[list[Call], Meta(max_length=MAX_CALLS)]


class Assistant(Open, tag_field="role", tag="assistant", kw_only=True):
    """An assistant's message: text, calls, reasoning, a refusal or an audio transcript."""

    content: Annotated[
        str | list[Any] | None,
        about("A text, or parts.", says=_CONTENT, shown_as=(str, list[_Part])),
    ] = None
    tool_calls: Annotated[
        _Calls | None,
        about("The calls that it made.", says=f"must be a list of at most {MAX_CALLS} calls"),
    ] = None
    function_call: Annotated[
        CalledFunction | None, about("A call in the older format of functions.")
    ] = None
    name: Annotated[str | None, about("Who speaks.")] = None
    refusal: Annotated[str | None, about("The reason why the model refused to answer.")] = None
    reasoning_content: Annotated[Any, about("Its reasoning, as text.")] = None
    reasoning: Annotated[Any, about("Its reasoning, as text.")] = None
    thinking: Annotated[Any, about("Its reasoning, as text.")] = None
    audio: Annotated[Any, about("Audio; only its 'transcript' is used.")] = None
    prefix: Annotated[Off | None, about("Refused.", reason="send 'continue_final_message'")] = None
    partial: Annotated[Off | None, about("Refused.", reason="send 'continue_final_message'")] = None


ChatMessage = System | Developer | User | Assistant | Tool | Function
