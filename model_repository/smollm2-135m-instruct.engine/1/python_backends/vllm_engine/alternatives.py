"""A reply that may be a call or an answer, of which only the answer has a structure to match.

vLLM's parsers make that of a structure for the formats that they have grammars of. For others the
alternative is whatever begins as a call does. Where nobody knows how that is, nothing is enforced:
the gateway checks the finished answer.
"""

import json
from typing import Any

from python_backends.templates import tool_marks

_BEGINNINGS = {"pythonic": ("[",), "llama4_pythonic": ("[",), "olmo3": ("<function_calls>",)}
"""What calls begin with besides the marks that templates have."""


def widen(request: Any, parser: str) -> Any:
    """The request, as it was adjusted by the parser of that name, in which calls are possible."""
    from vllm.parser.abstract_parser import (  # type: ignore[import-not-found]
        structured_outputs_to_format,
    )
    from vllm.sampling_params import (  # type: ignore[import-not-found]
        StructuredOutputsParams,
    )

    wanted = request.structured_outputs
    if wanted is None or wanted.structural_tag is not None:
        return request
    marks = [*tool_marks(parser), *_BEGINNINGS.get(parser, ())]
    answer = structured_outputs_to_format(wanted)
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
