"""Converts a Stable-Diffusion-shaped pipeline to three ONNX graphs, tokenizer and scheduler.

Each part is exported and compared separately in float32, also at sizes other than the exported one.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import AutoTokenizer, CLIPTextModel, CLIPTextModelWithProjection

from toolkit.convert import diffusion_xl
from toolkit.convert.failures import refusing
from toolkit.convert.graph import export, run
from toolkit.convert.parity import SENTENCES, check_close
from toolkit.convert.quiet import quiet
from toolkit.convert.strict import load
from toolkit.convert.strict_parts import check_part, load_part
from toolkit.errors import ConvertError
from toolkit.kinds.diffusion import DiffusionFacts
from toolkit.progress import Progress

TOLERANCE = 1e-3
"""Largest difference of one element; right exports differ by 1e-6 (small) to 2e-4 (full size)."""

_PARTS = {
    "text_encoder": "CLIPTextModel",
    "tokenizer": "CLIPTokenizer",
    "unet": "UNet2DConditionModel",
    "vae": "AutoencoderKL",
}


_XL_PARTS = {
    "text_encoder_2": "CLIPTextModelWithProjection",
    "tokenizer_2": "CLIPTokenizer",
}


@dataclass(frozen=True, slots=True)
class _Pipeline:
    """The loaded parts, all float32; `text_encoder_2` is XL's, which stands for the others too.

    `zero` is its setting that an empty prompt has zero embeddings.
    """

    tokenizer: Any
    text_encoder: Any
    unet: Any
    vae: Any
    text_encoder_2: Any = None
    tokenizer_2: Any = None
    zero: bool = False

    @property
    def tokens(self) -> int:
        return int(self.text_encoder.config.max_position_embeddings)

    @property
    def rows(self) -> int:
        """Of the text that the UNet reads: tokens, and XL's pooled state."""
        return self.tokens + (self.text_encoder_2 is not None)

    @property
    def width(self) -> int:
        """Of a row."""
        encoders = [self.text_encoder, self.text_encoder_2]
        return sum(int(encoder.config.hidden_size) for encoder in encoders if encoder is not None)

    @property
    def scale(self) -> int:
        """Pixels of a latent's side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    def text_module(self) -> torch.nn.Module:
        if self.text_encoder_2 is None:
            return _TextEncoder(self.text_encoder)
        tokenizers = (self.tokenizer, self.tokenizer_2)
        return diffusion_xl.TextEncoders(
            self.text_encoder, self.text_encoder_2, tokenizers, self.zero
        )

    def denoising_module(self) -> torch.nn.Module:
        if self.text_encoder_2 is None:
            return _Denoiser(self.unet)
        pooled = int(self.text_encoder_2.config.projection_dim)
        return diffusion_xl.Denoiser(self.unet, pooled, self.scale)

    @property
    def side(self) -> int:
        """The trained width of latents."""
        size = self.unet.config.sample_size
        return int(size if isinstance(size, int) else size[0])


class _TextEncoder(torch.nn.Module):
    """INT64 `[B, L]` → FP32 `[B, L, D]`."""

    def __init__(self, body: torch.nn.Module) -> None:
        super().__init__()
        self._body = body

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self._body(input_ids=input_ids).last_hidden_state
        return hidden


class _Denoiser(torch.nn.Module):
    """FP32 `[B, C, h, w]`, `[1]`, `[B, L, D]` → FP32 `[B, C, h, w]`."""

    def __init__(self, body: torch.nn.Module) -> None:
        super().__init__()
        self._body = body

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor
    ) -> torch.Tensor:
        noise: torch.Tensor = self._body(
            sample, timestep, encoder_hidden_states, return_dict=False
        )[0]
        return noise


class _Decoder(torch.nn.Module):
    """Unscaled latents FP32 `[B, C, h, w]` → FP32 `[B, 3, H, W]` from -1 to 1."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self._body = body

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        image: torch.Tensor = self._body.decode(latents, return_dict=False)[0]
        return image


def convert_diffusion(folder: Path, place: Path, progress: Progress) -> DiffusionFacts:
    """Writes `text_encoder/`, `denoise/` and `decode/` below `place`, each with `model.onnx`.

    Raises ConvertError for other pipelines, and when a part differs by more than `TOLERANCE`.
    """
    index = _check_shape(folder)
    with progress.step("convert to ONNX", total=4, unit="parts") as step, quiet():
        parts = _load(folder, index)
        step.advance()
        for convert in (_convert_text_encoder, _convert_denoiser, _convert_decoder):
            step.note(convert.__name__.rpartition("convert_")[2].replace("_", " "))
            convert(parts, place)
            step.advance()
        # XL's second tokenizer only pads otherwise, which its graph does itself
        parts.tokenizer.save_pretrained(place / "text_encoder" / "tokenizer")
    shutil.copytree(folder / "scheduler", place / "denoise" / "scheduler")
    return _facts(parts)


def _check_shape(folder: Path) -> dict[str, Any]:
    """Checks the parts that model_index.json lists. Raises ConvertError for pipelines of another
    shape."""
    index = folder / "model_index.json"
    try:
        parts: dict[str, Any] = json.loads(index.read_text())
    except (OSError, ValueError) as error:
        raise ConvertError(
            f"{folder} is not a diffusers directory: model_index.json cannot be read ({error})"
        ) from error
    # an optional part that a pipeline lacks is written as [null, null]
    actual = {
        name: value[1] for name, value in parts.items() if isinstance(value, list) and value[1]
    }
    known = _PARTS | (_XL_PARTS if set(_XL_PARTS) & set(actual) else {})
    wrong = [
        f"{name} is {actual.get(name, 'missing')}, not {expected}"
        for name, expected in known.items()
        if str(actual.get(name)).removesuffix("Fast") != expected
    ]
    extra = {"text_encoder_3", "image_encoder", "transformer", "prior"} & set(actual)
    wrong += [f"{name} is not supported" for name in sorted(extra)]
    if not (folder / "scheduler" / "scheduler_config.json").exists():
        wrong.append("scheduler/scheduler_config.json is missing")
    if parts.get("requires_aesthetics_score"):
        wrong.append(
            "it refines images (requires_aesthetics_score) and does not generate images from text"
        )
    if wrong:
        raise ConvertError(
            f"cannot convert the pipeline in {folder}: {'; '.join(wrong)}",
            hint="supported: text-to-image pipelines shaped like Stable Diffusion 1, 2 and XL",
        )
    return parts | {"xl": bool(set(_XL_PARTS) & set(actual))}


def _load(folder: Path, index: dict[str, Any]) -> _Pipeline:
    encoders: dict[str, Any] = {"text_encoder": CLIPTextModel}
    others: dict[str, Any] = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}
    tokenizers = ["tokenizer"]
    if index["xl"]:
        encoders["text_encoder_2"] = CLIPTextModelWithProjection
        tokenizers.append("tokenizer_2")
    with refusing(f"{folder.name} cannot be loaded"):
        # all names first: a part that is incomplete is refused before gigabytes are read
        files = {name: check_part(kind, folder / name) for name, kind in others.items()}
        parts = {name: load(kind, folder / name) for name, kind in encoders.items()}
        parts |= {
            name: load_part(kind, folder / name, files[name]) for name, kind in others.items()
        }
        parts |= {
            name: AutoTokenizer.from_pretrained(folder / name, local_files_only=True)
            for name in tokenizers
        }
    if index["xl"]:
        both = (parts["tokenizer"], parts["tokenizer_2"])
        diffusion_xl.check(parts["text_encoder"], parts["text_encoder_2"], both, parts["unet"])
    return _Pipeline(**parts, zero=bool(index.get("force_zeros_for_empty_prompt")))


def _convert_text_encoder(parts: _Pipeline, place: Path) -> None:
    ids = parts.tokenizer(
        # pipelines always encode the empty prompt, too, as what guidance leads away from
        ["", *SENTENCES],
        padding="max_length",
        truncation=True,
        max_length=parts.tokens,
        return_tensors="pt",
    ).input_ids
    module = parts.text_module()
    file = place / "text_encoder" / "model.onnx"
    export(module, {"input_ids": ids[:2]}, {"input_ids": {0: "batch"}}, "embeddings", file)
    _compare("text encoder", module, file, {"input_ids": ids})


def _convert_denoiser(parts: _Pipeline, place: Path) -> None:
    module = parts.denoising_module()
    file = place / "denoise" / "model.onnx"
    axes = {
        "sample": {0: "batch", 2: "height", 3: "width"},
        "encoder_hidden_states": {0: "batch"},
    }
    # two images: the exporter takes an axis of size 1 for a constant
    export(module, _noise(parts, 2, parts.side, 999.0), axes, "noise", file)
    factor = _factor(parts)
    # one size more than the UNet was exported with: the next that it can halve at each block
    for batch, side, time in ((1, parts.side, 0.0), (3, parts.side + factor, 481.0)):
        _compare("denoiser", module, file, _noise(parts, batch, side, time))


def _convert_decoder(parts: _Pipeline, place: Path) -> None:
    module = _Decoder(parts.vae)
    file = place / "decode" / "model.onnx"
    axes = {"latents": {0: "batch", 2: "height", 3: "width"}}
    export(module, {"latents": _latents(parts, 2, parts.side)}, axes, "image", file)
    # the decoder only doubles, so it takes any size
    for batch, side in ((1, parts.side), (2, parts.side + 1)):
        _compare("decoder", module, file, {"latents": _latents(parts, batch, side)})


def _compare(
    part: str, module: torch.nn.Module, file: Path, inputs: dict[str, torch.Tensor]
) -> None:
    with torch.inference_mode():
        expected = module(**inputs)
    actual = run(file, {name: value.numpy() for name, value in inputs.items()})
    check_close(part, actual, np.asarray(expected.numpy()), TOLERANCE)


def _noise(parts: _Pipeline, batch: int, side: int, time: float) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(batch)
    return {
        "sample": _latents(parts, batch, side),
        "timestep": torch.tensor([time]),
        "encoder_hidden_states": torch.randn((batch, parts.rows, parts.width), generator=generator),
    }


def _latents(parts: _Pipeline, batch: int, side: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(side)
    channels = int(parts.unet.config.in_channels)
    return torch.randn((batch, channels, side, side), generator=generator)


def _factor(parts: _Pipeline) -> int:
    """Latent sizes must be its multiples: the UNet halves them at all blocks but the last."""
    return int(2 ** (len(parts.unet.config.block_out_channels) - 1))


def _facts(parts: _Pipeline) -> DiffusionFacts:
    return DiffusionFacts(
        size=parts.side * parts.scale,
        scale=parts.scale,
        multiple_of=parts.scale * _factor(parts),
        latent_channels=int(parts.unet.config.in_channels),
        tokens=parts.tokens,
        width=parts.width,
        rows=parts.rows,
        latent_scaling=float(parts.vae.config.scaling_factor),
        latent_shift=float(parts.vae.config.shift_factor or 0.0),
    )
