"""The text encoder's stage: it learns what captions are about before anything is drawn.

Heads on the end token name concept, style and background, or "nothing said"; they are thrown away,
and the encoder stays as it is while the U-Net learns. It does not know about pictures.
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from captions import LENGTH, Captioner, Subject
from networks import WIDTH, build_text_encoder
from stage import Plan, Stage
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

BATCH = 64
NONSENSE = 6  # of a batch are words that the model does not know


class Reader(nn.Module):
    """The encoder with its heads; the last class of each is "nothing said"."""

    def __init__(self, encoder: CLIPTextModel, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleList(nn.Linear(WIDTH, size + 1) for size in sizes)

    def forward(self, ids: torch.Tensor) -> list[torch.Tensor]:
        seen = self.encoder(ids).pooler_output
        return [head(seen) for head in self.heads]


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """INT64 [N, LENGTH]."""
    found = tokenizer(
        captions, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt"
    )
    ids: torch.Tensor = found.input_ids
    return ids


def write_batch(captioner: Captioner, sizes: tuple[int, ...]) -> tuple[list[str], torch.Tensor]:
    """Captions and what they are about, INT64 [heads, BATCH].

    Two styles share the word "flat": the style's head learns both as likely.
    """
    captions, answers = [], []
    for number in range(BATCH):
        concept, style, background = (int(torch.randint(0, size, ())) for size in sizes)
        named, coloured = (torch.rand(2) < 0.5).tolist()
        subject = Subject(concept, style if named else None, background if coloured else 0)
        if number < NONSENSE:
            captions.append(captioner.nonsense())
            answers.append(list(sizes))
        else:
            captions.append(captioner.write(subject))
            answers.append([concept, style if named else sizes[1], subject.background])
    return captions, torch.tensor(answers).T


def train_reader(plan: Plan, prompts: dict[str, Any], tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A text encoder that tells captions apart."""
    torch.manual_seed(plan.seed + 1)
    sizes = tuple(len(prompts[key]) for key in ("concepts", "art", "backgrounds"))
    reader = Reader(build_text_encoder(tokenizer), sizes)
    stage = Stage("text", reader, plan.text_steps, 2e-3, plan)
    for step in stage.run():
        captions, answers = write_batch(Captioner(prompts, plan.seed, step), sizes)
        guesses = reader(tokenize(tokenizer, captions))
        losses = [F.cross_entropy(*pair) for pair in zip(guesses, answers, strict=True)]
        stage.learn(torch.stack(losses).sum())
    return reader.encoder
