"""Chooses the vLLM parsers for a model's replies from its chat template.

The choice depends on markers in the template, because a fine-tuned model keeps its template but not
its name. Names are those of vLLM's tool and reasoning parsers.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FALLBACK = "hermes"
"""The tool call format for models whose chat template does not support tools."""

_TOOL_MARKS = (
    # the first match wins, so more specific markers come first
    ("<|channel|>", "openai"),
    ("<arg_key>", "glm45"),
    ("<minimax:tool_call>", "minimax_m2"),
    ("<seed:tool_call>", "seed_oss"),
    ("<function=", "qwen3_coder"),
    ("<|tool_calls_section_begin|>", "kimi_k2"),
    ("<｜DSML｜", "deepseek_v32"),
    ("<｜tool▁calls▁begin｜>", "deepseek_v3"),
    ("<start_function_call>", "functiongemma"),
    ("[TOOL_CALLS]", "mistral"),
    ("<|action_start|>", "internlm"),
    ("<longcat_tool_call>", "longcat"),
    ("<tool_calls>", "jamba"),
    ("<|tool_call_start|>", "lfm2"),
    ("functools[", "phi4_mini_json"),
    ("<tool_call>", "hermes"),
    ("<|python_tag|>", "llama3_json"),
    ("<|python_start|>", "llama4_pythonic"),
)
_REASONING_MARKS = (
    ("<|channel|>", "openai_gptoss"),
    ("<seed:think>", "seed_oss"),
    ("[THINK]", "mistral"),
    ("◁think▷", "kimi_k2"),
)


@dataclass(frozen=True, slots=True)
class Parsers:
    """Names of vLLM's parsers; None where replies contain no calls or no reasoning."""

    tool: str | None = None
    reasoning: str | None = None


def read_parsers(folder: Path) -> Parsers:
    """The parsers of the model in a Hugging Face folder; none for one without a chat template."""
    template = read_template(folder)
    if not template:
        return Parsers()
    return choose(template, _table(folder / "config.json").get("architectures") or ())


def read_template(folder: Path) -> str:
    """The chat template of a tokenizer folder, several joined; empty if there is no template."""
    file = folder / "chat_template.jinja"
    if file.exists():
        return file.read_text()
    kept = _table(folder / "tokenizer_config.json").get("chat_template")
    kept = kept or _table(folder / "chat_template.json").get("chat_template")
    if isinstance(kept, list):  # named ones: [{"name": ..., "template": ...}]
        return "\n".join(str(one.get("template", "")) for one in kept)
    return kept if isinstance(kept, str) else ""


def _table(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    value = json.loads(file.read_text())
    return value if isinstance(value, dict) else {}


def choose(template: str, architectures: Sequence[str] = ()) -> Parsers:
    """Chooses parsers by the template, or by the architectures if the template is ambiguous."""
    architecture = " ".join(architectures)
    tool = next((parser for mark, parser in _TOOL_MARKS if mark in template), None)
    if tool is None and knows_tools(template) and "Llama" in architecture:
        tool = "llama3_json"  # 3.2's template asks for bare JSON
    if not knows_tools(template):
        tool = FALLBACK
    return Parsers(tool, _reasoning(template, architecture))


def tool_marks(parser: str) -> list[str]:
    """The texts that begin a tool call in the format of that parser."""
    return [mark for mark, name in _TOOL_MARKS if name == parser]


def knows_tools(template: str) -> bool:
    """Whether the template uses the tools of a request."""
    # only in expressions: the text of a template may speak of tools that it does not take
    code = "".join(re.findall(r"\{[{%].*?[%}]\}", template, re.DOTALL))
    return bool(re.search(r"\btools\b", code))


def _reasoning(template: str, architecture: str) -> str | None:
    name = next((parser for mark, parser in _REASONING_MARKS if mark in template), None)
    # many families write <think>, so what else is in their templates decides below
    if name or "<think>" not in template:
        return name
    if "<arg_key>" in template:
        return "glm45"
    if "<minimax:tool_call>" in template:
        return "minimax_m2"
    if "Deepseek" in architecture and "thinking" in template:
        return "deepseek_v3"  # thinks only when the request says so
    if "enable_thinking" in template or "Qwen3" in architecture:
        return "qwen3"
    return "deepseek_r1"


INFILL_MARKS = (
    *("<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<file_sep>", "<repo_name>"),
    *("<fim-prefix>", "<fim-middle>", "<fim-suffix>", "<fim-pad>"),
    *("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|file_sep|>"),
    *("<|repo_name|>", "<|file_separator|>", "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
    *("▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>", "[PREFIX]", "[SUFFIX]", "[MIDDLE]"),
    *("<|endoftext|>", "<|EOT|>"),
)
"""Markers that end the middle part in fill-in-the-middle."""
