"""Structured output for replies that may be either a tool call or an answer.

vLLM's parsers support this for formats that have a grammar. For other formats a call is any text
that starts like a call. If the start of a call is unknown, nothing is enforced while generating:
the gateway validates the finished answer.
"""

import json
from typing import Any

from python_backends.templates import tool_marks

_BEGINNINGS = {"pythonic": ("[",), "llama4_pythonic": ("[",), "olmo3": ("<function_calls>",)}
"""How calls start, where the template does not contain it."""


def allow_calls(request: Any, parser: str) -> Any:
    """The request, already adjusted by the parser of that name, with calls allowed as well."""
    from vllm.parser.abstract_parser import (  # type: ignore[import-not-found]
        structured_outputs_to_format,
    )
    from vllm.sampling_params import (  # type: ignore[import-not-found]
        StructuredOutputsParams,
    )

    structured = request.structured_outputs
    # the parser has a grammar for calls and has joined it with the answer's
    if structured is None or structured.structural_tag is not None:
        return request
    marks = [*tool_marks(parser), *_BEGINNINGS.get(parser, ())]
    answer = structured_outputs_to_format(structured)
    if not marks or answer is None:
        return request.model_copy(update={"structured_outputs": None})
    calls = [
        {"type": "sequence", "elements": [{"type": "const_string", "value": mark}, _ANYTHING]}
        for mark in marks
    ]
    either = {"type": "or", "elements": [*calls, answer.model_dump()]}
    tag = json.dumps({"type": "structural_tag", "format": either})
    made = StructuredOutputsParams(structural_tag=tag)
    return request.model_copy(update={"structured_outputs": made})


_ANYTHING = {"type": "any_text"}
