"""Converts a Hugging Face language model to an ONNX decoder with a cache, for onnxruntime-genai.

onnxruntime-genai's model builder writes it, in a process of its own: the builder adds folders to
`sys.path` and modules named `builders` and `quantization` to the process that imports it.
Invariant: a kept result computes what its source computes, in one pass and through its cache.
"""

import subprocess
import sys
from collections import deque
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from toolkit.convert.checkpoint import architecture, read_config
from toolkit.convert.decoder_parity import Decoder, compare
from toolkit.convert.failures import refusing
from toolkit.convert.parity import SENTENCES
from toolkit.convert.quiet import quiet
from toolkit.convert.safetensors_file import read_tensors
from toolkit.convert.strict import check_names, load
from toolkit.convert.windows import refuse_window
from toolkit.errors import ConvertError, MissingExtra, ToolkitError
from toolkit.progress import Progress

ARCHITECTURES = (
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "Phi3ForCausalLM",
    "GraniteForCausalLM",
    "Ernie4_5ForCausalLM",
)
"""What the builder knows and gets right: it also knows Gemma, whose embeddings it rounds, OLMo,
whose norms it gets wrong, and others that it writes graphs for which do not load."""
PRECISIONS = ("fp32", "int4")
_ROTARY = {"default": ARCHITECTURES, "llama3": ("LlamaForCausalLM",)}
"""Kinds of rotary positions → architectures; the builder takes `linear` for `default`."""
_LENGTHS = (28, 17, 24)
"""Tokens of the random rows."""


def convert_decoder(
    folder: Path, place: Path, precision: str, progress: Progress
) -> dict[str, Any]:
    """Writes `model.onnx`, its data, `genai_config.json` and the tokenizer; returns the record.

    Raises ConvertError for what the builder cannot write or writes wrongly.
    """
    if precision not in PRECISIONS:
        raise ConvertError(
            f"the precision '{precision}' does not exist", hint=f"known: {', '.join(PRECISIONS)}"
        )
    config = _check(folder)
    _build(folder.absolute(), place, precision, config.num_hidden_layers, progress)
    with progress.step("compare", unit="texts") as step, quiet():
        model = load(AutoModelForCausalLM, folder)
        rows = _rows(folder, config)
        step.total(len(rows) * (1 if precision == "fp32" else 2))
        decoder = compare(place, rows, model, step)
    return {"kind": "llm", "facts": _facts(decoder, place, precision)}


def _check(folder: Path) -> Any:
    """The checkpoint's configuration, when the builder gets such a model right."""
    content = read_config(folder)
    name = architecture(folder, content)
    if name not in ARCHITECTURES:
        raise ConvertError(
            f"{name} cannot be converted to an ONNX decoder",
            hint=f"known: {', '.join(ARCHITECTURES)}; serve the safetensors with vLLM",
        )
    if content.get("quantization_config") is not None:
        raise ConvertError(
            "the checkpoint is quantized (quantization_config in config.json)",
            hint="start from the original weights; --precision int4 quantizes them",
        )
    with refusing(f"{folder.name} cannot be loaded"), quiet():
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        shapes = {tensor.name: tensor.shape for tensor in read_tensors(folder).values()}
        # before the builder, which takes minutes
        check_names(AutoModelForCausalLM, config, shapes, folder)
    kind = (config.rope_parameters or {}).get("rope_type", "default")
    if name not in _ROTARY.get(kind, ()):
        raise ConvertError(
            f"{name} with '{kind}' rotary positions gives wrong results as an ONNX decoder",
            hint="serve the safetensors with vLLM",
        )
    refuse_window(config, "the ONNX decoder")
    return config


def _build(folder: Path, place: Path, precision: str, layers: int, progress: Progress) -> None:
    options = {"-i": folder, "-o": place, "-p": precision, "-e": "cpu", "-c": "cache"}
    # -P: nothing of the working directory is imported; -u: its lines arrive when it prints them
    module = [sys.executable, "-P", "-u", "-m", "onnxruntime_genai.models.builder"]
    with (
        progress.step("write the ONNX decoder", total=layers, unit="layers") as step,
        TemporaryDirectory() as scratch,
        quiet(),
        subprocess.Popen(
            [*module, *(str(word) for option in options.items() for word in option)],
            # the builder writes its cache there (`-c cache`), and it is removed with the folder
            cwd=scratch,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as builder,
    ):
        said: deque[str] = deque(maxlen=20)
        try:
            for line in builder.stdout or ():
                said.append(line.rstrip())
                if line.startswith("Reading layer"):
                    step.advance()
                elif line.startswith("Saving ONNX model"):
                    step.note(f"save as {precision}")
        except BaseException:
            # Popen's end of the block waits, and the builder would write on for minutes
            builder.kill()
            raise
    if builder.returncode:
        raise _failure(builder.returncode, list(said))


def _failure(code: int, said: list[str]) -> ToolkitError:
    last = next((line for line in reversed(said) if line), "")
    # it is another process, so its ImportError is text here
    if "No module named 'onnxruntime_genai'" in last:
        return MissingExtra("weights", "ONNX decoders (it lacks onnxruntime-genai)")
    if code < 0:
        last = "it was killed, probably because memory ran out"
    error = ConvertError(f"onnxruntime-genai's builder failed: {last}", hint="nothing was kept")
    error.add_note("\n".join(said))
    return error


def _rows(folder: Path, config: Any) -> list[Any]:
    """INT64 `[L]` each: ordinary sentences, then random tokens."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    most = config.max_position_embeddings
    sentences = [np.array(tokenizer(text).input_ids[:most], np.int64) for text in SENTENCES]
    random = np.random.default_rng(0)
    # sentences use a small part of the vocabulary; these use any of it
    return sentences + [
        random.integers(0, config.vocab_size, min(length, most)) for length in _LENGTHS
    ]


def _facts(decoder: Decoder, place: Path, precision: str) -> dict[str, Any]:
    return {
        "precision": precision,
        "context_length": decoder.context_length,
        "layers": decoder.layers,
        "cache_bytes_per_token": decoder.cache_bytes_per_token,
        "inputs": decoder.inputs,
        "outputs": decoder.outputs,
        "padding": "right",
        "size_bytes": sum(file.stat().st_size for file in place.glob("model.onnx*")),
    }
