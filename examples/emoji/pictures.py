"""The VAE's two stages: first both halves learn the pictures, then the decoder alone continues.

In the second stage the encoder, and so every latent, stays as it is, and latents are disturbed: the
decoder learns to make clean pictures of what a U-Net gets slightly wrong. Text is not used.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from art import Pool, compose
from networks import CHANNELS, build_vae, whiten
from stage import Plan, Stage
from torch import nn
from tqdm import tqdm

BATCH = 16
PLAIN = 0.7  # share of pictures on white
DISTURBED = 0.25  # largest deviation of the noise on a latent whose own deviation is 1


@dataclass(frozen=True)
class Latents:
    """The pool as the VAE sees it."""

    mean: torch.Tensor  # FP32 [N, C, h, w]
    deviation: torch.Tensor  # FP32 [N, C, h, w]
    backgrounds: torch.Tensor  # INT64 [N]


def colours(prompts: dict[str, Any]) -> torch.Tensor:
    """UINT8 [backgrounds, 3]; white is the first."""
    return torch.tensor(list(prompts["backgrounds"].values()), dtype=torch.uint8)


def choose_backgrounds(count: int, choices: int, plain: float) -> torch.Tensor:
    """INT64 [count]: white (0) with chance `plain`, else any."""
    chosen = torch.randint(0, choices, (count,))
    chosen[torch.rand(count) < plain] = 0
    return chosen


def difference(drawn: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Of pixels, absolute and squared, and of steps between neighbours, so that edges stay."""
    down = F.l1_loss(drawn.diff(dim=2), images.diff(dim=2))
    across = F.l1_loss(drawn.diff(dim=3), images.diff(dim=3))
    return F.l1_loss(drawn, images) + F.mse_loss(drawn, images) + (down + across)


def train_vae(plan: Plan, prompts: dict[str, Any], pool: Pool) -> Any:
    """Both halves, with a little of the KL divergence."""
    torch.manual_seed(plan.seed)
    vae = build_vae(prompts["size"]).to(memory_format=torch.channels_last)
    behind = colours(prompts)
    stage = Stage("vae", vae, plan.vae_steps, 2e-3, plan)
    for _ in stage.run():
        chosen = torch.randint(0, len(pool.pictures), (BATCH,))
        backgrounds = choose_backgrounds(BATCH, len(behind), 0.6)
        images = compose(pool.pictures[chosen], behind[backgrounds])
        latents = vae.encode(images).latent_dist
        drawn = vae.decode(latents.sample()).sample
        spread = latents.kl().mean() / latents.mean[0].numel()
        stage.learn(difference(drawn, images) + 1e-4 * spread)
    return vae


@torch.no_grad()
def encode(vae: Any, plan: Plan, prompts: dict[str, Any], pool: Pool) -> Latents:
    """Latents of the whole pool; the VAE is left whitened."""
    torch.manual_seed(plan.seed + 1)
    behind = colours(prompts)
    backgrounds = choose_backgrounds(len(pool.pictures), len(behind), PLAIN)
    means, deviations = [], []
    for start in tqdm(range(0, len(backgrounds), 32), "latents", leave=False):
        part = slice(start, start + 32)
        found = vae.encode(compose(pool.pictures[part], behind[backgrounds[part]])).latent_dist
        means.append(found.mean)
        deviations.append(found.std)
    mean, deviation = torch.cat(means), torch.cat(deviations)
    middle, spread = mean.mean((0, 2, 3)), mean.std((0, 2, 3))
    whiten(vae, middle, spread)
    middle, spread = middle.view(1, CHANNELS, 1, 1), spread.view(1, CHANNELS, 1, 1)
    return Latents((mean - middle) / spread, deviation / spread, backgrounds)


def train_decoder(
    vae: Any, plan: Plan, prompts: dict[str, Any], pool: Pool, latents: Latents
) -> None:
    """The decoder alone, on disturbed latents."""
    behind = colours(prompts)
    decoder = nn.ModuleList([vae.post_quant_conv, vae.decoder]).train()
    stage = Stage("decoder", decoder, plan.decoder_steps, 2e-3, plan)
    for _ in stage.run():
        chosen = torch.randint(0, len(pool.pictures), (BATCH,))
        images = compose(pool.pictures[chosen], behind[latents.backgrounds[chosen]])
        noise = torch.randn_like(latents.mean[chosen]) * DISTURBED * torch.rand(BATCH, 1, 1, 1)
        stage.learn(difference(vae.decode(latents.mean[chosen] + noise).sample, images))
