"""The fields of a language model in models.yaml. Each value is checked here on its own."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from toolkit.fields.entry import Alias, Name, SourcedEntry, SourceText
from toolkit.fields.serving import GrammarBounds, Part
from toolkit.fields.source import Source, parse_source
from toolkit.fields.strict import Many, Strict


def _is_layout(text: str) -> str:
    places = [text.find("{prefix}"), text.find("{suffix}")]
    if min(places) <= 0 or text.count("{prefix}") > 1 or text.count("{suffix}") > 1:
        raise ValueError(
            f"'{text}' is not a layout: write <a>{{prefix}}<b>{{suffix}}<c> with the model's own "
            "marks"
        )
    return text


class Adapter(Strict):
    """A LoRA adapter, served under its own name on its model's engine."""

    source: SourceText = Field(
        description="A folder with `adapter_config.json` and `adapter_model.safetensors`; same "
        "format as `source` of a model."
    )
    revision: str | None = Field(
        default=None, description="Revision of the source; same format as `revision` of a model."
    )
    digest: str | None = Field(
        default=None,
        pattern=r"^sha256:[0-9a-f]{64}$",
        description="Digest of the weights; same format as `digest` of a model.",
    )
    aliases: Many[Alias] = Field(
        default=(),
        description="Further names that clients can use; same format as `aliases` of a model.",
    )

    @property
    def origin(self) -> Source:
        """The source, parsed."""
        return parse_source(self.source, self.revision)


Quantization = Literal["awq", "gptq", "int8", "int4", "fp8"]


class LlmEntry(SourcedEntry):
    """A language model that vLLM or TensorRT-LLM runs: chat and completions."""

    kind: Literal["llm"] = Field(description="A language model.")
    context_length: int = Field(
        ge=16,
        description="Context length: tokens of prompt and answer together, at most the model's"
        " maximum.",
    )
    engine: Literal["vllm", "tensorrt-llm"] = Field(
        default="vllm",
        description="Engine that runs the model. `tensorrt-llm` requires a `-trtllm` target, "
        "which is NVIDIA's image on a GPU. It does not support tools, grammars or log"
        " probabilities.",
    )
    engine_args: dict[str, Any] = Field(
        default={},
        description="Arguments of the engine by name. For vLLM those of AsyncEngineArgs, for "
        "example `dtype` or "
        "`max_num_seqs`; names that the target's vLLM does not have are refused. `model` and "
        "`max_model_len` are set from `source` and `context_length`; on a CPU `enforce_eager`, "
        "`max_num_seqs` (16) and `kv_cache_memory_bytes` have defaults.",
    )
    environment: dict[str, str | int] = Field(
        default={},
        description="Environment variables of the engine's process, for example "
        "`VLLM_CPU_KVCACHE_SPACE` (GiB of KV cache on a CPU).",
    )
    quantization: Quantization | None = Field(
        default=None,
        description="Quantize the weights with this method when building. Leave it out for weights "
        "that are published quantized.",
    )
    chat_template: str | None = Field(
        default=None,
        min_length=1,
        description="A Jinja file, relative to this one, that replaces the model's own template.",
    )
    adapters: dict[Name, Adapter] = Field(
        default={}, description="LoRA adapters by the name that clients use."
    )
    priority: bool = Field(
        default=False,
        description="Whether the `priority` of requests orders the engine's queue; the lowest "
        "number runs first.",
    )
    tool_parser: Name | None = Field(
        default=None,
        description="Parser for the model's tool calls. Default: detected from its template.",
    )
    reasoning_parser: Name | None = Field(
        default=None,
        description="Parser for the model's reasoning. Default: detected from its template.",
    )
    fim: Annotated[str, AfterValidator(_is_layout)] | Literal[False] | None = Field(
        default=None,
        description="How the model was trained to fill in the middle, for completions with a "
        "`suffix`: `<a>{prefix}<b>{suffix}<c>` with the model's own markers. `false`: not"
        " supported. "
        "Default: detected from the tokenizer's special tokens.",
    )
    grammars: GrammarBounds = Field(
        default=GrammarBounds(),
        description="Limits for grammars and schemas in requests.",
    )
    parts: dict[Literal["prompt"], Part] = Field(
        default={}, description="Settings of the step `prompt`."
    )
