"""The four parts of the pipeline, untrained, and the folder that they make together.

Their sizes share one budget: 2.2 million numbers, two bytes each. Knows nothing of the art.
"""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from captions import LENGTH
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

CHANNELS = 8  # of a latent
SCALE = 8  # pixels of the image per latent cell
WIDTH = 48  # of the text embeddings


@dataclass
class Parts:
    """What StableDiffusionPipeline is made of."""

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    scheduler: DDIMScheduler


def build_vae(size: int) -> AutoencoderKL:
    """`size` pixels square -> CHANNELS x size/8 x size/8."""
    widths = (16, 32, 48, 48)
    vae = AutoencoderKL(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=8,
        sample_size=size,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )
    with torch.no_grad():  # little noise to begin with, or colours are learnt late
        vae.quant_conv.bias[CHANNELS:] -= 6
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


def build_unet(size: int) -> UNet2DConditionModel:
    """Attends to the caption at both resolutions, 8x8 and 4x4."""
    return UNet2DConditionModel(
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


def build_scheduler() -> DDIMScheduler:
    """Velocity prediction from pure noise (Lin et al. 2023, "Common Diffusion Noise Schedules…")."""
    return DDIMScheduler(
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


def whiten(vae: AutoencoderKL, mean: torch.Tensor, deviation: torch.Tensor) -> None:
    """Fold a shift and scale per channel into the VAE: its latents get mean 0 and deviation 1.

    So that `scaling_factor` is 1 and the diffusion sees every channel alike.
    """
    with torch.no_grad():
        into, out_of = vae.quant_conv, vae.post_quant_conv
        into.weight[:CHANNELS] /= deviation[:, None, None, None]
        into.bias[:CHANNELS] = (into.bias[:CHANNELS] - mean) / deviation
        into.bias[CHANNELS:] -= 2 * deviation.log()  # the second half is the logarithm of a variance
        out_of.bias += out_of.weight[:, :, 0, 0] @ mean
        out_of.weight *= deviation[None, :, None, None]


def save(parts: Parts, folder: Path) -> None:
    """A diffusers directory, weights in half precision."""
    pipeline = StableDiffusionPipeline(
        vae=copy.deepcopy(parts.vae).half(),
        text_encoder=copy.deepcopy(parts.text_encoder).half(),
        tokenizer=parts.tokenizer,
        unet=copy.deepcopy(parts.unet).half(),
        scheduler=parts.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
