"""The tool fields of a chat request. Pure. The engine enforces and parses calls."""

from typing import Annotated, Literal

from frontend.dialects.declare import Empty, about
from frontend.dialects.functions import CHOICE, PARALLEL, TOOLS, ChoiceBody, ToolList
from frontend.dialects.openai.formats import Formatted

_LEGACY = "it was replaced by {}; send that"


class Calling(Formatted, kw_only=True):
    """The fields for tools and the choice of one."""

    functions: Annotated[
        Empty | None,
        about("Replaced by 'tools'.", reason=_LEGACY.format("'tools'")),
    ] = None
    function_call: Annotated[
        Literal["none", "auto"] | None,
        about("Replaced by 'tool_choice'.", reason=_LEGACY.format("'tool_choice'")),
    ] = None
    tools: Annotated[ToolList | None, TOOLS] = None
    tool_choice: Annotated[ChoiceBody | None, CHOICE] = None
    parallel_tool_calls: Annotated[bool | None, PARALLEL] = None
