"""Compares an ONNX decoder with its source, with and without the cache.

An INT4 graph is compared with a source that has the same rounded matrices, with the tolerance of an
FP32 graph and without rounding activations; the cost of rounding is measured separately. The
graph's attention counts a row's tokens and uses the first ones, so rows of unequal length are
padded on the right; their next tokens then overwrite the padding in the cache.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

from toolkit.convert.parity import Array, Check, check_close, check_distributions, record
from toolkit.errors import ConvertError
from toolkit.progress import Step

Tokens = npt.NDArray[np.int64]

_TOLERANCE = 2e-3
"""Largest difference of one logit, which may be 30; right graphs differ by 1e-4 to 3e-4."""
_ROTARY_TOLERANCE = 1e-3
"""Largest difference of a rotary table's element at any position of the context."""
_ROUNDED_WEIGHT = 0.25
"""Largest relative error of one INT4 matrix; rounding blocks of 32 costs about 0.1."""
_ROUNDED_NATS = 8.0
"""Largest KL divergence (nats) of any next token of an INT4 graph from the source: rounding costs
a model of 135 million parameters up to 3.9."""
_STEPS = 4


class Decoder:
    """A built directory's graph in onnxruntime, on the CPU.

    `inputs` and `outputs` map names to `dtype[axes]`, with `%d` for the layer. With `exact` INT4
    products take their activations as they are; otherwise as the graph says, rounded to INT8.
    """

    def __init__(self, folder: Path, *, exact: bool = False) -> None:
        about = json.loads((folder / "genai_config.json").read_text())["model"]
        self.context_length: int = about["context_length"]
        self.layers: int = about["decoder"]["num_hidden_layers"]
        self._heads: int = about["decoder"]["num_key_value_heads"]
        self._size: int = about["decoder"]["head_size"]
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # the session gets bytes, which do not say in which folder the weights are
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(folder)
        )
        try:
            model = onnx.load(folder / "model.onnx", load_external_data=False)
            for node in model.graph.node if exact else ():
                for attribute in node.attribute:
                    if attribute.name == "accuracy_level":
                        # 1 computes in float32; the builder writes 4, which is INT8 (MatMulNBits)
                        attribute.i = 1
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own errors have no public base
            raise ConvertError(f"the graph that was written cannot be loaded: {error}") from error
        self.inputs = _described(self._session.get_inputs())
        self.outputs = _described(self._session.get_outputs())

    @property
    def cache_bytes_per_token(self) -> int:
        # keys and values, 4 bytes a number
        return 2 * 4 * self.layers * self._heads * self._size

    def run(
        self, ids: Tokens, mask: Tokens, past: dict[str, Array] | None = None
    ) -> tuple[Array, dict[str, Array]]:
        """INT64 `[B, new]` and `[B, past + new]` → FP32 `[B, new, vocabulary]` and the cache."""
        if past is None:
            nothing = np.zeros((len(ids), self._heads, 0, self._size), np.float32)
            past = {
                f"past_key_values.{layer}.{part}": nothing
                for layer in range(self.layers)
                for part in ("key", "value")
            }
        names = [output.name for output in self._session.get_outputs()]
        values = self._session.run(names, {"input_ids": ids, "attention_mask": mask, **past})
        outputs = dict(zip(names, values, strict=True))
        present = {
            name.replace("present", "past_key_values"): value
            for name, value in outputs.items()
            if name != "logits"
        }
        return outputs["logits"], present

    def logits(self, row: Tokens) -> Array:
        """INT64 `[L]` → FP32 `[L, vocabulary]` in one pass, without a cache."""
        logits, _ = self.run(row[None], np.ones((1, len(row)), np.int64))
        return np.asarray(logits[0])

    def cached_logits(self, rows: Sequence[Tokens], steps: int) -> list[Array]:
        """FP32 `[steps + 1, vocabulary]` for each row's last tokens: all but `steps` of them in one
        pass, the rest one by one through the cache that the graph itself returns."""
        lengths = [len(row) - steps for row in rows]
        ids = np.zeros((len(rows), max(lengths)), np.int64)
        mask = np.zeros_like(ids)
        for index, length in enumerate(lengths):
            ids[index, :length] = rows[index][:length]
            mask[index, :length] = 1
        logits, past = self.run(ids, mask)
        rows_logits = [[logits[index, length - 1]] for index, length in enumerate(lengths)]
        for step in range(steps):
            mask = np.concatenate([mask, np.ones((len(rows), 1), np.int64)], axis=1)
            ids = np.array(
                [[row[length + step]] for row, length in zip(rows, lengths, strict=True)]
            )
            logits, past = self.run(ids, mask, past)
            for index, kept in enumerate(rows_logits):
                kept.append(logits[index, 0])
        return [np.stack(kept) for kept in rows_logits]


def logits(model: Any, row: Tokens) -> Array:
    """INT64 `[L]` → FP32 `[L, vocabulary]` by the transformers model."""
    with torch.inference_mode():
        values: Array = model(torch.from_numpy(row)[None]).logits[0].numpy()
    return values


def compare(folder: Path, rows: Sequence[Tokens], model: Any, step: Step) -> Decoder:
    """One pass, through the cache, and two rows in one batch; rotary positions; INT4 weights.

    `rows` end with two of unequal length above `_STEPS`. Rounds `model` as an INT4 graph is.
    Advances `step` once for each row, and for an INT4 graph twice.
    Raises ConvertError when something differs by more than its limit.
    """
    decoder = Decoder(folder)
    _compare_rotary(folder / "model.onnx", model)
    # before `_round`, which changes the model's own matrices
    expected = [logits(model, row) for row in rows]
    if worst := _round(model, folder / "model.onnx"):
        for part, actual, target in _passes(decoder, rows, expected, step):
            check_distributions(f"INT4 {part}", actual, target, _ROUNDED_NATS)
        record(
            Check("INT4 weights", "largest relative error of one matrix", worst, _ROUNDED_WEIGHT),
            f"an INT4 weight differs by {worst:.3g} from its source, more than {_ROUNDED_WEIGHT}",
        )
        expected = [logits(model, row) for row in rows]
    exact = Decoder(folder, exact=True) if worst else decoder
    for part, actual, target in _passes(exact, rows, expected, step):
        check_close(part, actual, target, _TOLERANCE)
    return decoder


def _passes(
    decoder: Decoder, rows: Sequence[Tokens], expected: Sequence[Array], step: Step
) -> Iterator[tuple[str, Array, Array]]:
    """What is compared, what the graph says, and what it should say."""
    for row, target in zip(rows, expected, strict=True):
        yield "logits in one pass", decoder.logits(row), target
        steps = min(_STEPS, len(row) - 1)
        if steps > 0:
            (actual,) = decoder.cached_logits([row], steps)
            yield "logits through the cache", actual, target[-steps - 1 :]
        step.advance()
    batch = decoder.cached_logits(rows[-2:], _STEPS)
    for actual, target in zip(batch, expected[-2:], strict=True):
        yield "logits of a padded batch", actual, target[-_STEPS - 1 :]


def _compare_rotary(file: Path, model: Any) -> None:
    """The graph's tables of rotary positions, up to the last position: no text is that long."""
    kept = _tensors(file, re.compile(r"(cos|sin)_cache"))
    length, width = kept["cos_cache"].shape
    with torch.inference_mode():
        # only the type and device of the first argument count
        tables = model.model.rotary_emb(torch.zeros(1), torch.arange(length)[None])
    for name, table in zip(("cos_cache", "sin_cache"), tables, strict=True):
        # transformers repeats the table for a head's second half
        expected = table[0, :, :width].numpy()
        check_close("rotary positions", kept[name], expected, _ROTARY_TOLERANCE)


def _round(model: Any, file: Path) -> float:
    """Puts the graph's INT4 matrices into `model`; the largest relative error of one, 0 without."""
    graph = onnx.load(file, load_external_data=False).graph
    values = _tensors(file, re.compile(r".*\.weight_(Q4|scales)"))
    # named_parameters lists a tied head as the embedding only
    own = dict(model.named_parameters()) | {"lm_head.weight": model.lm_head.weight}
    worst = 0.0
    for node in graph.node:
        if node.op_type != "MatMulNBits":
            continue
        rounded = torch.from_numpy(_dequantized(node, values))
        parts = _sources(node.name, own)
        with torch.no_grad():
            source = torch.cat(parts)
            worst = max(worst, float((rounded - source).norm() / source.norm()))
            for part in parts:
                part.copy_(rounded[: len(part)])
                rounded = rounded[len(part) :]
    return worst


def _dequantized(node: Any, values: dict[str, Any]) -> Array:
    """FP32 `[N, K]` of a MatMulNBits: U8 `[N, blocks, block / 2]`, low half first, minus 8."""
    about = {each.name: each.i for each in node.attribute}
    packed, scales = (values[name] for name in node.input[1:3])
    halves = np.stack([packed & 15, packed >> 4], axis=-1).astype(np.float32) - 8
    blocks = halves.reshape(about["N"], -1, about["block_size"])
    matrix = blocks * scales.reshape(about["N"], -1, 1)
    return np.ascontiguousarray(matrix.reshape(about["N"], -1)[:, : about["K"]])


def _sources(node: str, own: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """The parameters that a node's matrix is made of, in the order of its rows; a whole parameter,
    several, or a part of one."""
    match = re.fullmatch(r"/model/layers\.(\d+)/(attn|mlp)/(\w+)_proj/MatMul_Q4", node)
    if match is None:
        return [own["lm_head.weight"]]
    layer, block, name = match.groups()
    prefix = f"model.layers.{layer}.{'self_attn' if block == 'attn' else 'mlp'}"
    whole = f"{prefix}.{name}_proj.weight"
    if whole in own:
        return [own[whole]]
    if name == "qkv":
        return [own[f"{prefix}.{part}_proj.weight"] for part in "qkv"]
    return [own[f"{prefix}.gate_up_proj.weight"].chunk(2)[name == "up"]]


def _tensors(file: Path, pattern: re.Pattern[str]) -> dict[str, Any]:
    """The graph's own values whose names match."""
    graph = onnx.load(file, load_external_data=False).graph
    tensors = {}
    for tensor in graph.initializer:
        if pattern.fullmatch(tensor.name):
            if uses_external_data(tensor):
                load_external_data_for_tensor(tensor, str(file.parent))
            tensors[tensor.name] = numpy_helper.to_array(tensor)
    return tensors


def _described(values: Any) -> dict[str, str]:
    return {
        re.sub(r"\.\d+\.", ".%d.", value.name): (
            f"{value.type.removeprefix('tensor(').removesuffix(')')}"
            f"[{', '.join(map(str, value.shape))}]"
        )
        for value in values
    }
