"""Estimates the memory of one model: weights, KV cache, activations, processes, shared memory.

Constants of processes were measured on the embedded target with every model under load; they are
what Python, torch, ONNX Runtime and vLLM take before any weight.
"""

from dataclasses import dataclass

from toolkit.fit.architecture import Architecture
from toolkit.fit.cache import CacheShape, bytes_per_token, sequence_bytes
from toolkit.fit.checkpoint import Checkpoint, Tensors
from toolkit.fit.engine import Engine
from toolkit.fit.quantization import weight_bytes

MIB = 2**20
STUB_BYTES = {
    "prompt": 112 * MIB,
    "tokenize": 33 * MIB,
    "encoder": 45 * MIB,
    "text_encoder": 72 * MIB,
    "denoise": 320 * MIB,
    "decode": 45 * MIB,
    "python": 40 * MIB,
}
"""Private memory of one instance of a step."""
ENGINE_BYTES = 1780 * MIB
"""vLLM on a CPU: the stub, the engine core and one worker."""
GPU_CONTEXT_BYTES = 1024 * MIB
"""CUDA's context, captured graphs and the allocator's slack, on each device."""
GPU_HOST_BYTES = 4096 * MIB
"""Host memory of a vLLM process beside a GPU."""
TRITON_BYTES = 170 * MIB
"""Triton, gateway, supervisor and guards together."""
STUB_SHM_BYTES = MIB
QUEUE_SHM_BYTES = 400 * MIB
"""The message queues between vLLM's core and its workers: room that is reserved, hardly touched."""
_ARENA = 2.8
"""ONNX Runtime's arena grows in powers of two and keeps what each size of batch has needed: 2.1
times a full batch after texts of one length, 2.9 times after texts of every length."""


@dataclass(frozen=True, slots=True)
class LlmNeed:
    """Bytes on one device of `tensor_parallel` × `pipeline_parallel`; `cache` is for the question.

    `sequence` is one request of full context, `token` one token.
    """

    weights: int
    activations: int
    processes: int
    cache: int
    sequence: int
    token: int
    shape: CacheShape

    @property
    def fixed(self) -> int:
        """Bytes of everything except the cache."""
        return self.weights + self.activations + self.processes

    @property
    def total(self) -> int:
        return self.fixed + self.cache


def llm_weights(architecture: Architecture, engine: Engine, tensors: Tensors | None) -> int:
    """Bytes of all weights: from the files' headers, else computed from config.json."""
    loads_as_is = engine.precision.bits is None or (tensors and tensors.other_bytes)
    if tensors is not None and loads_as_is:
        # packed weights keep their size; only floats take the type that the engine computes in
        return tensors.floats * engine.precision.number_bytes + tensors.other_bytes
    return weight_bytes(architecture, engine.precision)


def llm_need(
    architecture: Architecture,
    engine: Engine,
    weights: int,
    sequences: int,
    ranks: tuple[int, int] = (1, 1),
    *,
    on_gpu: bool,
) -> LlmNeed:
    """The memory of each device when `ranks` (tensor, pipeline) devices share the model."""
    tensor, pipeline = ranks
    in_flight = engine.step * (pipeline + 1)  # steps overlap, and windows keep both
    shape = CacheShape(engine.cache_number_bytes, engine.block, in_flight, tensor, pipeline)
    one = sequence_bytes(architecture, shape, engine.context_length)
    return LlmNeed(
        weights=-(-weights // (tensor * pipeline)),
        activations=_activations(architecture, engine, sequences, tensor),
        processes=GPU_CONTEXT_BYTES if on_gpu else ENGINE_BYTES,
        cache=one * sequences,
        sequence=one,
        token=bytes_per_token(architecture, shape),
        shape=shape,
    )


def _activations(
    architecture: Architecture, engine: Engine, sequences: int, tensor_parallel: int
) -> int:
    """The widest moment of one scheduling step: a gated layer's halves beside the residuals, and
    the logits of every sequence in float32, twice while they are sampled from."""
    numbers = 2 * architecture.widest // tensor_parallel + 8 * architecture.hidden
    step = engine.step * numbers * engine.precision.number_bytes
    return step + 2 * 4 * sequences * architecture.vocabulary


@dataclass(frozen=True, slots=True)
class StepsNeed:
    """A model of ONNX steps: host bytes of all its instances together."""

    weights: int
    activations: int
    processes: int
    instances: int

    @property
    def total(self) -> int:
        return self.weights + self.activations + self.processes


def encoder_need(
    checkpoint: Checkpoint, context_length: int, token_budget: int, instances: int
) -> StepsNeed:
    """`tokenize` → `encoder`: FP32 weights, and a full token budget of activations."""
    config = checkpoint.config
    numbers = checkpoint.tensors.floats if checkpoint.tensors else 0
    hidden = int(config.get("hidden_size", 768))
    heads = int(config.get("num_attention_heads", 12))
    wide = int(config.get("intermediate_size", 4 * hidden))
    # scores of attention, before and after the softmax, are a row of the context per head
    per_token = 2 * heads * context_length + 3 * wide + 8 * hidden
    return StepsNeed(
        weights=4 * numbers,
        activations=int(_ARENA * 4 * max(token_budget, context_length) * per_token),
        processes=STUB_BYTES["encoder"] + instances * STUB_BYTES["tokenize"],
        instances=instances + 1,
    )


def diffusion_need(checkpoint: Checkpoint, max_size: int, scale: int) -> StepsNeed:
    """A pipeline: FP32 weights of its parts, and the decoder's widest feature maps."""
    vae = checkpoint.configs.get("vae", {})
    unet = checkpoint.configs.get("unet", {})
    narrow = min(vae.get("block_out_channels") or [128])
    latents = (max_size // max(1, scale)) ** 2
    channels = max(unet.get("block_out_channels") or [320])
    # two images (with and without the prompt), attention over all latents in a few heads
    denoise = 2 * latents * (8 * channels + 8 * latents)
    decode = 4 * narrow * max_size**2
    return StepsNeed(
        weights=4 * sum(part.floats for part in checkpoint.parts.values()),
        activations=int(_ARENA * 4 * max(denoise, decode)),
        processes=sum(STUB_BYTES[step] for step in ("text_encoder", "denoise", "decode")),
        instances=3,
    )
