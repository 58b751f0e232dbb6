"""A Stable-Diffusion-shaped pipeline of random weights, small enough to be made in a test."""

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

TOKENS = 16
WIDTH = 32


def save_tiny_pipeline(folder: Path) -> Path:
    """Writes a diffusers directory: 16x16 pixels, latents 8x8 with 4 channels."""
    torch.manual_seed(0)
    _tokenizer(folder / "tokenizer")
    vocabulary = len(json.loads((folder / "tokenizer" / "vocab.json").read_text()))
    _text_encoder(vocabulary).save_pretrained(folder / "text_encoder")
    _unet().save_pretrained(folder / "unet")
    _vae().save_pretrained(folder / "vae")
    _scheduler().save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps(_INDEX))
    return folder


def save_tiny_xl(folder: Path) -> Path:
    """The same shaped like Stable Diffusion XL: two text encoders, sizes and a pooled state."""
    torch.manual_seed(1)
    _tokenizer(folder / "tokenizer")
    _tokenizer(folder / "tokenizer_2")
    about = json.loads((folder / "tokenizer_2" / "tokenizer_config.json").read_text())
    padded = about | {"pad_token": "q"}  # as the published one, which pads with "!"
    (folder / "tokenizer_2" / "tokenizer_config.json").write_text(json.dumps(padded))
    vocabulary = len(json.loads((folder / "tokenizer" / "vocab.json").read_text()))
    _text_encoder(vocabulary).save_pretrained(folder / "text_encoder")
    config = _text_encoder(vocabulary).config
    config.projection_dim = _POOLED
    CLIPTextModelWithProjection(config).save_pretrained(folder / "text_encoder_2")
    UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2),
        cross_attention_dim=2 * WIDTH,
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + _POOLED,
        norm_num_groups=8,
    ).save_pretrained(folder / "unet")
    _vae().save_pretrained(folder / "vae")
    EulerDiscreteScheduler(num_train_timesteps=100, steps_offset=1).save_pretrained(
        folder / "scheduler"
    )
    (folder / "model_index.json").write_text(json.dumps(_XL_INDEX))
    return folder


_POOLED = 24
_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    # published pipelines carry these; none of them has a part in drawing
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "image_encoder": [None, None],
}
_XL_INDEX = {
    "_class_name": "StableDiffusionXLPipeline",
    "force_zeros_for_empty_prompt": True,
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
}


def _scheduler() -> DDIMScheduler:
    """With the settings that StableDiffusionPipeline otherwise puts in place of the defaults."""
    return DDIMScheduler(num_train_timesteps=100, steps_offset=1, clip_sample=False)


def _tokenizer(folder: Path) -> None:
    folder.mkdir(parents=True)
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = [
        *letters,
        *(f"{letter}</w>" for letter in letters),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer.from_pretrained(folder, model_max_length=TOKENS).save_pretrained(folder)


def _text_encoder(vocabulary: int) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=WIDTH,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=TOKENS,
            bos_token_id=vocabulary - 2,
            eos_token_id=vocabulary - 1,
        )
    )


def _unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=8,
        norm_num_groups=8,
    )


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=4,
        norm_num_groups=8,
        sample_size=16,
    )
