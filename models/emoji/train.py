"""Trains the emoji model from nothing and saves it as a diffusers directory.

Three stages: the VAE learns the pictures, the text encoder learns what captions are about, the U-Net
learns to draw latents for text embeddings. Each stage is kept in the work folder as it goes: a run
that was broken off continues. The same seed, threads and library versions give the same weights.
"""

import argparse
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from art import Pool, compose, load_art, load_prompts, make_pool
from captions import LENGTH, Captioner, Subject, train_tokenizer
from networks import (
    CHANNELS,
    WIDTH,
    Parts,
    build_scheduler,
    build_text_encoder,
    build_unet,
    build_vae,
    save,
    whiten,
)
from torch import nn
from tqdm import tqdm
from transformers import CLIPTextModel, CLIPTokenizer

UNSAID = 0.15  # share of captions left empty, for classifier-free guidance
KEEP_EVERY = 100  # steps


@dataclass(frozen=True)
class Plan:
    """What the command line asks for."""

    output: Path
    data: Path
    work: Path
    steps: int
    vae_steps: int
    text_steps: int
    copies: int
    seed: int


class Stage:
    """One network's training: optimizer, warm-up and cosine decay, checkpoints, progress."""

    def __init__(self, name: str, module: nn.Module, steps: int, rate: float, plan: Plan) -> None:
        self._name, self._module, self._steps = name, module, steps
        self._seed = plan.seed
        self._optimizer = torch.optim.AdamW(module.parameters(), rate, (0.9, 0.99), weight_decay=1e-3)
        warm = max(1, min(100, steps // 10))
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer,
            lambda step: min((step + 1) / warm, 0.02 + 0.49 * (1 + math.cos(math.pi * step / steps))),
        )
        self._average = torch.optim.swa_utils.AveragedModel(
            module, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995)
        )
        self._file = plan.work / f"{name}.pt"
        self._done = 0
        if self._file.exists():
            self._load()

    def run(self) -> Iterator[int]:
        """The numbers of the steps still to do; after the last the averaged weights are in place."""
        progress = tqdm(range(self._done, self._steps), self._name, self._steps, initial=self._done)
        self._progress = progress
        for step in progress:
            torch.manual_seed(zlib.crc32(f"{self._name} {self._seed} {step}".encode()))
            yield step
        self._keep()
        self._module.load_state_dict(self._average.module.state_dict())
        self._module.eval()

    def learn(self, loss: torch.Tensor) -> None:
        """One step down."""
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._module.parameters(), 1.0)
        self._optimizer.step()
        self._schedule.step()
        self._average.update_parameters(self._module)
        self._done += 1
        if self._done % 10 == 0:
            self._progress.set_postfix(loss=f"{loss.item():.4f}")
        if self._done % KEEP_EVERY == 0:
            self._keep()

    def _states(self) -> dict[str, Any]:
        return {
            "module": self._module,
            "optimizer": self._optimizer,
            "schedule": self._schedule,
            "average": self._average,
        }

    def _keep(self) -> None:
        content = {name: part.state_dict() for name, part in self._states().items()}
        fresh = self._file.with_suffix(".new")
        torch.save(content | {"done": self._done}, fresh)
        fresh.replace(self._file)

    def _load(self) -> None:
        content = torch.load(self._file, weights_only=True)
        for name, part in self._states().items():
            part.load_state_dict(content[name])
        self._done = content["done"]


def choose_backgrounds(count: int, colours: int, plain: float) -> torch.Tensor:
    """INT64 [count]: white (0) with chance `plain`, else any."""
    chosen = torch.randint(0, colours, (count,))
    chosen[torch.rand(count) < plain] = 0
    return chosen


def train_vae(plan: Plan, prompts: dict[str, Any], pool: Pool) -> Any:
    """Absolute error of pixels and of their differences, and a little of the KL divergence."""
    vae = build_vae(prompts["size"]).to(memory_format=torch.channels_last)
    colours = torch.tensor(list(prompts["backgrounds"].values()), dtype=torch.uint8)
    stage = Stage("vae", vae, plan.vae_steps, 2e-3, plan)
    for _ in stage.run():
        chosen = torch.randint(0, len(pool.pictures), (8,))
        behind = colours[choose_backgrounds(8, len(colours), 0.6)]
        images = compose(pool.pictures[chosen], behind)
        latents = vae.encode(images).latent_dist
        drawn = vae.decode(latents.sample()).sample
        edges = sum(
            F.l1_loss(drawn.diff(dim=axis), images.diff(dim=axis)) for axis in (2, 3)
        )
        spread = latents.kl().mean() / latents.mean[0].numel()
        stage.learn(F.l1_loss(drawn, images) + edges + 1e-4 * spread)
    return vae


@dataclass(frozen=True)
class Latents:
    """The pool as the VAE sees it: means and deviations FP32 [N, C, h, w]."""

    mean: torch.Tensor
    deviation: torch.Tensor
    backgrounds: torch.Tensor


@torch.no_grad()
def encode(vae: Any, prompts: dict[str, Any], pool: Pool) -> Latents:
    """Latents of the whole pool; the VAE is left whitened."""
    colours = torch.tensor(list(prompts["backgrounds"].values()), dtype=torch.uint8)
    backgrounds = choose_backgrounds(len(pool.pictures), len(colours), 0.7)
    means, deviations = [], []
    starts = range(0, len(backgrounds), 32)
    for start in tqdm(starts, "latents", leave=False):
        part = slice(start, start + 32)
        images = compose(pool.pictures[part], colours[backgrounds[part]])
        found = vae.encode(images).latent_dist
        means.append(found.mean)
        deviations.append(found.std)
    mean, deviation = torch.cat(means), torch.cat(deviations)
    middle, spread = mean.mean((0, 2, 3)), mean.std((0, 2, 3))
    whiten(vae, middle, spread)
    shape = (1, CHANNELS, 1, 1)
    return Latents(
        (mean - middle.view(shape)) / spread.view(shape), deviation / spread.view(shape), backgrounds
    )


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """INT64 [N, LENGTH]."""
    found = tokenizer(
        captions, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt"
    )
    ids: torch.Tensor = found.input_ids
    return ids


class Reader(nn.Module):
    """The text encoder with heads that say what a caption is about; only the encoder is kept."""

    def __init__(self, encoder: CLIPTextModel, sizes: tuple[int, int, int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleList(nn.Linear(WIDTH, size) for size in sizes)

    def forward(self, ids: torch.Tensor) -> list[torch.Tensor]:
        seen = self.encoder(ids).pooler_output
        return [head(seen) for head in self.heads]


def train_text(plan: Plan, prompts: dict[str, Any], tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Concept, style and background of captions; the last class of each head is "not said"."""
    sizes = (len(prompts["concepts"]) + 1, len(prompts["art"]) + 1, len(prompts["backgrounds"]) + 1)
    reader = Reader(build_text_encoder(tokenizer), sizes)
    stage = Stage("text", reader, plan.text_steps, 2e-3, plan)
    for step in stage.run():
        captioner = Captioner(prompts, plan.seed * 1_000_003 + step)
        captions, answers = [], []
        for number in range(64):
            concept, style, background = (int(torch.randint(0, size - 1, ())) for size in sizes)
            said = torch.rand(2) < 0.5
            if number < 6:
                captions.append(captioner.nonsense())
                answers.append([size - 1 for size in sizes])
                continue
            subject = Subject(concept, style if said[0] else None, background if said[1] else 0)
            captions.append(captioner.write(subject))
            # two styles share the word "flat": the head learns both as likely
            answers.append([concept, style if said[0] else sizes[1] - 1, subject.background])
        targets = torch.tensor(answers).T
        guesses = reader(tokenize(tokenizer, captions))
        losses = [F.cross_entropy(*pair) for pair in zip(guesses, targets, strict=True)]
        stage.learn(torch.stack(losses).sum())
    return reader.encoder


def train_unet(plan: Plan, prompts: dict[str, Any], parts: Parts, pool: Pool, latents: Latents) -> None:
    """Velocity (Salimans and Ho 2022, appendix D) of noised latents."""
    parts.unet.to(memory_format=torch.channels_last)
    stage = Stage("unet", parts.unet, plan.steps, 2e-3, plan)
    for step in stage.run():
        chosen = torch.randint(0, len(latents.mean), (64,))
        captions = caption_batch(Captioner(prompts, plan.seed * 1_000_003 + step), pool, latents, chosen)
        with torch.no_grad():
            text = parts.text_encoder(tokenize(parts.tokenizer, captions)).last_hidden_state
        clean = latents.mean[chosen] + latents.deviation[chosen] * torch.randn_like(latents.mean[chosen])
        noise = torch.randn_like(clean)
        # one time per slice of the range: less variance than independent times
        times = ((torch.arange(64) + torch.rand(64)) / 64 * 1000).long()
        noisy = parts.scheduler.add_noise(clean, noise, times)
        target = parts.scheduler.get_velocity(clean, noise, times)
        stage.learn(F.mse_loss(parts.unet(noisy, times, text).sample, target))


def caption_batch(
    captioner: Captioner, pool: Pool, latents: Latents, chosen: torch.Tensor
) -> list[str]:
    """A caption for each chosen picture: some empty, some name the style."""
    captions = []
    for index in chosen.tolist():
        style = int(pool.styles[index]) if torch.rand(()) < 0.25 else None
        subject = Subject(int(pool.concepts[index]), style, int(latents.backgrounds[index]))
        captions.append("" if torch.rand(()) < UNSAID else captioner.write(subject))
    return captions


def train(plan: Plan) -> None:
    """All three stages, then the directory."""
    plan.work.mkdir(parents=True, exist_ok=True)
    prompts = load_prompts()
    torch.manual_seed(plan.seed)
    pool = make_pool(load_art(plan.data), prompts["size"], plan.copies, plan.seed)
    vae = train_vae(plan, prompts, pool)
    torch.manual_seed(plan.seed + 1)
    latents = encode(vae, prompts, pool)
    tokenizer = train_tokenizer(prompts, plan.output / "tokenizer")
    text_encoder = train_text(plan, prompts, tokenizer)
    parts = Parts(tokenizer, text_encoder, build_unet(prompts["size"]), vae, build_scheduler())
    train_unet(plan, prompts, parts, pool, latents)
    save(parts, plan.output)


def read_plan() -> Plan:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    here = Path(__file__).parent
    parser.add_argument("--output", type=Path, default=here, help="where the model goes")
    parser.add_argument("--data-dir", type=Path, default=Path("build/emoji/data"), help="art, reused")
    parser.add_argument("--work-dir", type=Path, default=Path("build/emoji/work"), help="checkpoints")
    parser.add_argument("--steps", type=int, default=3000, help="of the U-Net")
    parser.add_argument("--vae-steps", type=int, default=1500)
    parser.add_argument("--text-steps", type=int, default=1500)
    parser.add_argument("--copies", type=int, default=32, help="of each drawing, each moved a little")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    return Plan(
        given.output,
        given.data_dir,
        given.work_dir,
        given.steps,
        given.vae_steps,
        given.text_steps,
        given.copies,
        given.seed,
    )


if __name__ == "__main__":
    train(read_plan())
