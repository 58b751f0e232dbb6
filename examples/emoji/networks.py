"""The five parts of the pipeline, untrained, and the folder that they make together.

Their sizes share one budget: 2.2 million numbers, two bytes each. This module does
not depend on the art. Types are Any where diffusers is not typed.
"""

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from captions import LENGTH
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.resnet import ResnetBlock2D
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

CHANNELS = 4  # of a latent
SCALE = 4  # pixels of the image per latent cell
WIDTH = 48  # of the text embeddings


@dataclass
class Parts:
    """What StableDiffusionPipeline is made of."""

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    unet: Any  # UNet2DConditionModel
    vae: Any  # AutoencoderKL
    scheduler: Any  # DDIMScheduler


def build_vae(size: int) -> Any:
    """`size` pixels square -> CHANNELS x size/4 x size/4."""
    widths = (24, 40, 48)
    vae: Any = AutoencoderKL(  # type: ignore[no-untyped-call]
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=2,  # small groups would take away the colour of flat areas
        sample_size=size,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )
    with torch.no_grad():  # nearly linear and with little noise to begin with: colours come early
        vae.quant_conv.bias[CHANNELS:] -= 6
        for block in vae.modules():
            if isinstance(block, ResnetBlock2D):
                block.conv2.weight.zero_()
    return vae


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Two causal layers; what the end token has seen is the whole caption."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def build_unet(size: int) -> Any:
    """Attends to the caption at both resolutions, 8x8 and 4x4."""
    return UNet2DConditionModel(  # type: ignore[no-untyped-call]
        sample_size=size // SCALE,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=(56, 64),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,  # diffusers means the number of heads
        norm_num_groups=8,
        use_linear_projection=True,
    )


def build_scheduler() -> Any:
    """Velocity prediction, from pure noise on (Lin et al. 2023, arXiv 2305.08891)."""
    return DDIMScheduler(  # type: ignore[no-untyped-call]
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


def whiten(vae: Any, mean: torch.Tensor, deviation: torch.Tensor) -> None:
    """Fold a shift and scale per channel into the VAE: its latents get mean 0 and deviation 1.

    So that `scaling_factor` is 1 and the diffusion sees every channel alike.
    """
    with torch.no_grad():
        into, out_of = vae.quant_conv, vae.post_quant_conv
        into.weight[:CHANNELS] /= deviation[:, None, None, None]
        into.bias[:CHANNELS] = (into.bias[:CHANNELS] - mean) / deviation
        into.bias[CHANNELS:] -= 2 * deviation.log()  # logarithms of variances
        out_of.bias += out_of.weight[:, :, 0, 0] @ mean
        out_of.weight *= deviation[None, :, None, None]


def halved(module: Any) -> Any:
    """A copy in half precision."""
    return copy.deepcopy(module).to(torch.float16, memory_format=torch.contiguous_format)


def save(parts: Parts, folder: Path) -> None:
    """A diffusers directory: weights in half precision on disk, single once loaded."""
    pipeline: Any = StableDiffusionPipeline(  # type: ignore[no-untyped-call]
        vae=halved(parts.vae),
        text_encoder=halved(parts.text_encoder),
        tokenizer=parts.tokenizer,
        unet=halved(parts.unet),
        scheduler=parts.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    written = folder / "text_encoder" / "config.json"  # else it alone would load as half precision
    config = json.loads(written.read_text()) | {"dtype": "float32"}
    written.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
