"""Trains the emoji model from nothing and saves it as a diffusers directory.

The VAE learns the pictures, the text encoder learns what captions are about, the U-Net learns to
draw latents for text embeddings, at last both of them together. Every stage is kept in the work
folder as it goes: a run that was broken off continues there.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from art import Pool, load_art, load_prompts, make_pool
from captions import Captioner, Subject, train_tokenizer
from networks import Parts, build_scheduler, build_unet, save
from pictures import Latents, encode, train_decoder, train_vae
from reader import tokenize, train_reader
from stage import Plan, Stage
from torch import nn

UNSAID = 0.15  # share of captions left empty, for classifier-free guidance
STYLED = 0.25  # share of captions that name the style
BATCH = 32  # many small steps learn more here than few large ones


def write_batch(
    captioner: Captioner, pool: Pool, latents: Latents, chosen: torch.Tensor
) -> list[str]:
    """A caption for each chosen picture."""
    captions = []
    for index in chosen.tolist():
        style = int(pool.styles[index]) if torch.rand(()) < STYLED else None
        subject = Subject(int(pool.concepts[index]), style, int(latents.backgrounds[index]))
        captions.append("" if torch.rand(()) < UNSAID else captioner.write(subject))
    return captions


def train_unet(
    stage: Stage, plan: Plan, prompts: dict[str, Any], parts: Parts, pool: Pool, latents: Latents
) -> None:
    """Velocity of noised latents (Salimans and Ho 2022, appendix D)."""
    for step in stage.run():
        chosen = torch.randint(0, len(latents.mean), (BATCH,))
        captions = write_batch(Captioner(prompts, plan.seed, step), pool, latents, chosen)
        text = parts.text_encoder(tokenize(parts.tokenizer, captions)).last_hidden_state
        mean, deviation = latents.mean[chosen], latents.deviation[chosen]
        clean = mean + deviation * torch.randn_like(mean)
        noise = torch.randn_like(clean)
        # one time in each slice of the range: less variance than independent times
        times = ((torch.arange(BATCH) + torch.rand(BATCH)) / BATCH * 1000).long()
        noisy = parts.scheduler.add_noise(clean, noise, times)
        target = parts.scheduler.get_velocity(clean, noise, times)
        stage.learn(F.mse_loss(parts.unet(noisy, times, text).sample, target))


def train(plan: Plan) -> None:
    """All stages, then the directory."""
    plan.work.mkdir(parents=True, exist_ok=True)
    prompts = load_prompts()
    pool = make_pool(load_art(plan.data), prompts["size"], plan.copies, plan.seed)
    vae = train_vae(plan, prompts, pool)
    latents = encode(vae, plan, prompts, pool)
    train_decoder(vae, plan, prompts, pool, latents)
    tokenizer = train_tokenizer(prompts, plan.output / "tokenizer")
    text_encoder = train_reader(plan, prompts, tokenizer)
    torch.manual_seed(plan.seed + 2)
    unet = build_unet(prompts["size"])
    unet.to(memory_format=torch.channels_last)
    parts = Parts(tokenizer, text_encoder, unet, vae, build_scheduler())
    text_encoder.requires_grad_(False)
    alone = Stage("unet", unet, plan.steps, 2e-3, plan)
    train_unet(alone, plan, prompts, parts, pool, latents)
    text_encoder.requires_grad_(True)
    both = nn.ModuleList([unet, text_encoder]).train()
    train_unet(
        Stage("both", both, plan.both_steps, 1.5e-3, plan), plan, prompts, parts, pool, latents
    )
    save(parts, plan.output)


def read_plan() -> Plan:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    here, build = Path(__file__).parent, Path("build/emoji")
    parser.add_argument("--output", type=Path, default=here / "pipeline", help="a folder")
    parser.add_argument("--data-dir", type=Path, default=build / "data", help="art, used again")
    parser.add_argument("--work-dir", type=Path, default=build / "work", help="checkpoints")
    parser.add_argument("--steps", type=int, default=2600, help="of the U-Net")
    parser.add_argument("--both-steps", type=int, default=1800, help="U-Net and text encoder")
    parser.add_argument("--vae-steps", type=int, default=1500)
    parser.add_argument("--decoder-steps", type=int, default=1800)
    parser.add_argument("--text-steps", type=int, default=1500)
    parser.add_argument("--copies", type=int, default=32, help="of each drawing, moved a little")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    return Plan(
        output=given.output,
        data=given.data_dir,
        work=given.work_dir,
        steps=given.steps,
        both_steps=given.both_steps,
        vae_steps=given.vae_steps,
        decoder_steps=given.decoder_steps,
        text_steps=given.text_steps,
        copies=given.copies,
        seed=given.seed,
    )


if __name__ == "__main__":
    train(read_plan())
