"""Which parser reads a model's replies, decided by its template."""

import json
from pathlib import Path

import pytest

from python_backends.templates import Parsers, choose, knows_tools, read_parsers

TOOLS = "{%- if tools %}{{ tools | tojson }}{% endif %}"


@pytest.mark.parametrize(
    ("template", "architecture", "parsers"),
    [
        (f"{TOOLS}<tool_call>", "Qwen2ForCausalLM", Parsers("hermes")),
        (
            f"{TOOLS}<tool_call>{{% if enable_thinking %}}<think>{{% endif %}}",
            "Qwen3ForCausalLM",
            Parsers("hermes", "qwen3"),
        ),
        (f"{TOOLS}<tool_call>\n<function=", "Qwen3MoeForCausalLM", Parsers("qwen3_coder")),
        (
            f"{TOOLS}<tool_call><arg_key><think>",
            "Glm4MoeForCausalLM",
            Parsers("glm45", "glm45"),
        ),
        (f"{TOOLS}[TOOL_CALLS]", "MistralForCausalLM", Parsers("mistral")),
        (f"{TOOLS}<|python_tag|>", "LlamaForCausalLM", Parsers("llama3_json")),
        (f"{TOOLS}Respond in JSON", "LlamaForCausalLM", Parsers("llama3_json")),
        (f"{TOOLS}Respond somehow", "OtherForCausalLM", Parsers(None)),
        (
            f"{TOOLS}<｜tool▁calls▁begin｜><think>",
            "DeepseekV3ForCausalLM",
            Parsers("deepseek_v3", "deepseek_r1"),
        ),
        (f"{TOOLS}<|channel|>", "GptOssForCausalLM", Parsers("openai", "openai_gptoss")),
        (f"{TOOLS}<seed:tool_call><seed:think>", "SeedOss", Parsers("seed_oss", "seed_oss")),
        ("{{ messages }}", "LlamaForCausalLM", Parsers("hermes")),
    ],
)
def test_marks_of_a_template_name_its_parsers(
    template: str, architecture: str, parsers: Parsers
) -> None:
    assert choose(template, [architecture]) == parsers


def test_a_template_that_only_speaks_of_tools_does_not_know_them() -> None:
    assert not knows_tools("{{ 'x' }} You have no tools. {% for message in messages %}")
    assert knows_tools("{%- if tools is not none %}")


def test_templates_are_read_from_where_they_may_stand(tmp_path: Path) -> None:
    assert read_parsers(tmp_path) == Parsers()
    named = [{"name": "default", "template": "x"}, {"name": "tool_use", "template": TOOLS}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    assert read_parsers(tmp_path) == Parsers("llama3_json")
    (tmp_path / "chat_template.jinja").write_text(f"{TOOLS}<tool_call>")
    assert read_parsers(tmp_path) == Parsers("hermes")
