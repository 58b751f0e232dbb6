"""Quantizes a Hugging Face language model with ModelOpt, and checks the written files.

Invariant: every written matrix was multiplied out again and compared with its source, and next
tokens of the written model were compared twice: as written, which measures what rounding costs, and
without the rounding, which shows strictly that norms took over the factors that matrices gave up.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

from toolkit.convert.parity import SENTENCES, Check, check_distributions, record
from toolkit.convert.quiet import quiet
from toolkit.errors import ConvertError, MissingExtra
from toolkit.progress import Progress, Step

_REST_NATS = 0.5
"""Largest KL divergence (nats) of any next token when nothing is rounded and AWQ's factors are as
written. They are fitted to rounded matrices, which costs 0.1 at most; others have 0."""
_ROW_TOKENS, _BATCH_ROWS = 256, 8
"""Calibration texts in batches: AWQ rounds every matrix again in each forward pass."""
_SCALES = ("weight_scale", "weight_scale_2", "input_scale", "pre_quant_scale")
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
_FP4 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


@dataclass(frozen=True, slots=True)
class Recipe:
    """`settings` is ModelOpt's name for it; it forwards the texts `passes` times. `blocks` are the
    sizes that TensorRT-LLM has kernels for, best first; each matrix's inputs must be a multiple.
    `error` is the largest relative error of one matrix: FP8 comes to 0.03 and NVFP4 to 0.1; AWQ
    takes precision from inputs that matter less, and comes to 0.2. `nats` is the largest KL
    divergence of any next token, far above what rounding costs dense models (0.1 and 3.3): where
    it sends a token to other experts, it costs more.
    """

    title: str
    settings: str
    passes: int
    blocks: tuple[int, ...]
    error: float
    nats: float


RECIPES = {
    "fp8": Recipe("FP8", "FP8_DEFAULT_CFG", 1, (1,), 0.1, 3.0),
    "awq": Recipe("INT4 AWQ", "INT4_AWQ_CFG", 2, (128, 64), 0.5, 6.0),
    "nvfp4": Recipe("NVFP4", "NVFP4_DEFAULT_CFG", 1, (16,), 0.25, 6.0),
}


def quantize(
    folder: Path, checkpoint: Path, recipe: Recipe, texts: list[str], progress: Progress
) -> None:
    """Writes `checkpoint` as TensorRT-LLM reads it. Raises ConvertError if modelopt fails,
    and MissingExtra if it is not installed."""
    with progress.step(f"{recipe.title} by ModelOpt", unit="layers") as step, quiet():
        try:
            torch: Any = import_module("torch")
            quantization: Any = import_module("modelopt.torch.quantization")
            export: Any = import_module("modelopt.torch.export")
        except ImportError as error:
            raise MissingExtra("tensorrt-llm", f"{recipe.title} ({error})") from error
        transformers: Any = import_module("transformers")
        strict: Any = import_module("toolkit.convert.strict")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = strict.load(transformers.AutoModelForCausalLM, folder, dtype="auto").to(device)
        # kept for the export, which writes each tensor in the type that it has
        kinds = {name: tensor.dtype for name, tensor in _tensors(model)}
        if device == "cpu":  # which computes 16-bit numbers several times as slowly
            model = model.float()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        settings = _settings(recipe, quantization, model, torch)
        batches = _batches(tokenizer, [*SENTENCES, *texts], torch)
        hooks = _follow(model, step, len(batches) * recipe.passes)

        def calibrate(module: Any) -> None:
            with torch.inference_mode():
                for batch in batches:
                    module(batch.to(device))

        model = quantization.quantize(model, settings, calibrate)
        for hook in hooks:
            hook.remove()
        step.note("write")
        for name, tensor in _tensors(model):
            tensor.data = tensor.data.to(kinds.get(name, model.config.dtype))
        export.export_hf_checkpoint(model, export_dir=str(checkpoint))
        tokenizer.save_pretrained(checkpoint)
    # `_compare` loads three more of this size
    del model
    with progress.step("compare", total=3 * len(SENTENCES), unit="texts") as step, quiet():
        _compare(folder, checkpoint, recipe, tokenizer, step)


def _tensors(model: Any) -> Iterator[tuple[str, Any]]:
    return chain(model.named_parameters(), model.named_buffers())


def _settings(recipe: Recipe, quantization: Any, model: Any, torch: Any) -> Any:
    """ModelOpt's settings with a block size that divides every matrix's inputs."""
    if recipe is RECIPES["awq"] and any(getattr(model.config, name, 0) for name in _EXPERTS):
        raise ConvertError(
            "ModelOpt's AWQ does not support mixtures of experts", hint="use --fp8 or --nvfp4"
        )
    widths = {
        module.in_features
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name != "lm_head"
    }
    fitting = [block for block in recipe.blocks if not any(width % block for width in widths)]
    if not fitting:
        raise ConvertError(
            f"{recipe.title} rounds blocks of {' or '.join(map(str, recipe.blocks))}, which do not "
            f"divide the inputs of every matrix ({', '.join(map(str, sorted(widths)))})",
            hint="use --fp8, which does not use blocks",
        )
    # ModelOpt's settings are constants of its module
    settings = deepcopy(getattr(quantization, recipe.settings))
    for entry in settings["quant_cfg"] if len(recipe.blocks) > 1 else ():
        if entry["quantizer_name"] == "*weight_quantizer":
            entry["cfg"]["block_sizes"][-1] = fitting[0]
    return settings


def _batches(tokenizer: Any, texts: list[str], torch: Any) -> list[Any]:
    """INT64 `[B, L]` each: the texts' tokens one after another, in rows of equal length."""
    encoded = [tokenizer(text, truncation=True, max_length=_ROW_TOKENS) for text in texts]
    ids = torch.tensor([token for each in encoded for token in each.input_ids])
    whole = len(ids) // _ROW_TOKENS * _ROW_TOKENS
    # the rest is dropped: padding would be measured as if it were text
    rows = ids[:whole].view(-1, _ROW_TOKENS)
    return [*rows.split(_BATCH_ROWS)] if whole else [ids[None]]


def _follow(model: Any, step: Step, passes: int) -> list[Any]:
    layers = [each for each in model.modules() if type(each).__name__.endswith("DecoderLayer")]
    step.total(len(layers) * passes)
    return [each.register_forward_hook(lambda *_: step.advance()) for each in layers]


def _compare(folder: Path, checkpoint: Path, recipe: Recipe, tokenizer: Any, step: Step) -> None:
    """Each written matrix against the source's, then next tokens of both models."""
    torch: Any = import_module("torch")
    written, unrounded, worst = _read(folder, checkpoint, recipe, torch)
    record(
        Check(
            f"{recipe.title} weights", "largest relative error of one matrix", worst, recipe.error
        ),
        f"an {recipe.title} weight differs by {worst:.3g} from its source, "
        f"more than {recipe.error}",
    )
    rows = [tokenizer(text, return_tensors="pt").input_ids for text in SENTENCES]

    def answers(model: Any) -> Iterator[Any]:
        for row in rows:
            with torch.inference_mode():
                yield model(row).logits[0].numpy()
            step.advance()

    strict: Any = import_module("toolkit.convert.strict")
    model = strict.load(import_module("transformers").AutoModelForCausalLM, folder)
    expected = list(answers(model))
    kind, config = type(model), model.config
    del model
    for part, state, nats in (
        ("without rounding", unrounded, _REST_NATS),
        ("as written", written, recipe.nats),
    ):
        shapes = {name: tuple(value.shape) for name, value in state.items()}
        strict.check_names(kind, config, shapes, checkpoint)
        model = kind.from_pretrained(None, config=config, state_dict=state, dtype=torch.float32)
        for actual, target in zip(answers(model), expected, strict=True):
            check_distributions(f"{recipe.title} {part}", actual, target, nats)


def _read(
    folder: Path, checkpoint: Path, recipe: Recipe, torch: Any
) -> tuple[dict[str, Any], dict[str, Any], float]:
    """The written tensors with matrices multiplied out; the same with the source's matrices times
    the factors of their inputs; and the largest relative error of a matrix."""
    sources, files = _open(folder), _open(checkpoint)
    written, unrounded, worst = {}, {}, 0.0
    for name in files:
        if name.endswith(_SCALES):
            continue
        stem = name.removesuffix(".weight")
        value = exact = files[name].get_tensor(name)
        scales = {
            each: files[f"{stem}.{each}"].get_tensor(f"{stem}.{each}").float()
            for each in _SCALES
            if f"{stem}.{each}" in files
        }
        if name.endswith(".weight") and "weight_scale" in scales:
            value = _multiplied_out(value, scales, torch)
            exact = sources[name].get_tensor(name).float()
            if recipe is RECIPES["awq"]:  # each input's factor went into the norm before it
                exact *= (value * exact).sum(0) / (exact * exact).sum(0).clamp(min=1e-30)
            worst = max(worst, float((value - exact).norm() / exact.norm()))
        written[name], unrounded[name] = value, exact
    if not worst:
        raise ConvertError(
            f"ModelOpt did not write {recipe.title} weights", hint="nothing was kept"
        )
    return written, unrounded, worst


def _multiplied_out(value: Any, scales: dict[str, Any], torch: Any) -> Any:
    """FP32 `[out, in]` of a written matrix.

    FP8: `[out, in]` and one scale. INT4: U8 `[out / 2, in]`, two rows in a byte, the lower one in
    the low half, and a scale for each block of inputs. NVFP4: U8 `[out, in / 2]`, two columns in a
    byte, a scale for each block, and one for all of them. `pre_quant_scale` `[in]` is for inputs.
    """
    scale = scales["weight_scale"]
    if value.dtype == torch.uint8 and "weight_scale_2" in scales:
        codes = torch.stack([value & 15, value >> 4], dim=-1).flatten(1).int()
        # the fourth bit is the sign
        matrix = torch.tensor(_FP4)[codes & 7] * (1 - 2 * (codes >> 3))
        scale = scale * scales["weight_scale_2"]
    elif value.dtype == torch.uint8:
        codes = torch.stack([value & 15, value >> 4], dim=1).flatten(0, 1).int()
        # 4 bits in two's complement: 8 to 15 are -8 to -1
        matrix = ((codes ^ 8) - 8).float()
    else:
        matrix = value.float()
    if scale.ndim == 2:
        scale = scale.repeat_interleave(matrix.shape[1] // scale.shape[1], dim=1)
    matrix = matrix * scale
    return matrix * scales["pre_quant_scale"] if "pre_quant_scale" in scales else matrix


def _open(folder: Path) -> dict[str, Any]:
    """Each tensor's name → the open file that holds it."""
    safe_open: Any = import_module("safetensors").safe_open
    files = [safe_open(file, framework="pt") for file in sorted(folder.glob("*.safetensors"))]
    return {name: file for file in files for name in file.keys()}  # noqa: SIM118  no mapping
