"""Measures the saved model: does a judge see in its pictures what the prompt asked for?

The judge is a small network trained on the art itself, moved about and blurred; it never sees a
generated picture. Also draws samples.png and reference.png, and compares ONNX exports with torch.
"""

import argparse
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F  # noqa: N812
from art import compose, load_art, load_prompts, make_pool
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import nn
from tqdm import tqdm

HERE = Path(__file__).parent
SEEN = 32  # pixels the judge looks at
ASKED = ("a {}", "{}", "draw a {} please", "an emoji of a {}")


def load(folder: Path) -> Any:
    """The saved pipeline in single precision."""
    read: Any = StableDiffusionPipeline.from_pretrained
    pipeline = read(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def train_judge(data: Path, steps: int = 1500) -> Callable[[torch.Tensor], torch.Tensor]:
    """A classifier of FP32 [N, 3, SEEN, SEEN] pictures, -1…1, into the concepts."""
    torch.manual_seed(7)
    prompts = load_prompts()
    pool = make_pool(load_art(data), SEEN, copies=24, seed=7)
    colours = torch.tensor(list(prompts["backgrounds"].values()), dtype=torch.uint8)
    judge = nn.Sequential(
        *(nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(24, 48, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(48, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.3), nn.Linear(1024, len(prompts["concepts"]))),
    )
    optimizer = torch.optim.AdamW(judge.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
    for _ in tqdm(range(steps), "judge", leave=False):
        chosen = torch.randint(0, len(pool.pictures), (64,))
        behind = colours[torch.randint(0, len(colours), (64,)) * (torch.rand(64) < 0.4)]
        seen = compose(pool.pictures[chosen], behind)
        seen = seen + 0.1 * torch.rand(64, 1, 1, 1) * torch.randn_like(seen)
        blurred = F.avg_pool2d(seen, 3, 1, 1)
        seen = torch.where(torch.rand(64, 1, 1, 1) < 0.3, blurred, seen)
        loss = F.cross_entropy(judge(seen), pool.concepts[chosen])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return judge.eval()


@torch.no_grad()
def generate(
    pipeline: Any, captions: list[str], steps: int, guidance: float, seed: int
) -> torch.Tensor:
    """One picture per caption, UINT8 [N, H, W, 3]; picture i has the seed `seed` + i."""
    generators = [torch.Generator().manual_seed(seed + number) for number in range(len(captions))]
    found = pipeline(
        captions,
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=generators,
        output_type="np",
    )
    return torch.from_numpy((found.images * 255).round().astype(np.uint8))


@torch.no_grad()
def agreement(judge: Any, pictures: torch.Tensor, concepts: list[int]) -> float:
    """Share of pictures in which the judge sees the concept asked for."""
    seen = pictures.permute(0, 3, 1, 2).float() / 127.5 - 1
    guesses = judge(F.interpolate(seen, SEEN, mode="area")).argmax(1)
    return float((guesses == torch.tensor(concepts)).float().mean())


def table(
    pipeline: Any, judge: Any, rounds: int, settings: list[tuple[int, float]]
) -> dict[str, float]:
    """Agreement at each (steps, guidance), over `rounds` pictures of every concept."""
    names = [concept["words"][0] for concept in load_prompts()["concepts"]]
    shares = {}
    for steps, guidance in settings:
        pictures: list[torch.Tensor] = []
        asked: list[int] = []
        for number in range(rounds):
            captions = [ASKED[number % len(ASKED)].format(name) for name in names]
            pictures.append(generate(pipeline, captions, steps, guidance, 1000 * number))
            asked += range(len(names))
        key = f"{steps} steps, guidance {guidance}"
        shares[key] = agreement(judge, torch.cat(pictures), asked)
        print(f"{key}: {shares[key]:.3f} of {len(asked)}", flush=True)  # noqa: T201
    return shares


def tile(pictures: torch.Tensor, columns: int) -> Image.Image:
    """UINT8 [N, H, W, 3] in rows."""
    count, height, width, _ = pictures.shape
    rows = -(-count // columns)
    sheet = torch.full((rows * columns, height, width, 3), 255, dtype=torch.uint8)
    sheet[:count] = pictures
    grid = sheet.view(rows, columns, height, width, 3).permute(0, 2, 1, 3, 4)
    return Image.fromarray(grid.reshape(rows * height, columns * width, 3).numpy())


def draw_samples(pipeline: Any, steps: int, guidance: float, path: Path) -> None:
    """Two pictures of every concept, then some styles and backgrounds."""
    prompts = load_prompts()
    names = [concept["name"] for concept in prompts["concepts"]]
    captions = [f"a {name}" for name in names] * 2
    styled = itertools.product(("flat", "glossy", "cartoon"), ("cat", "rocket"))
    captions += [f"a {style} {name}" for style, name in styled]
    shown = ("red heart", "dog", "pizza", "ghost", "star")
    behind = itertools.product(shown, ("black", "blue"))
    captions += [f"a {name} on a {colour} background" for name, colour in behind]
    tile(generate(pipeline, captions[:96], steps, guidance, 0), 16).save(path, optimize=True)


def draw_reference(data: Path, path: Path) -> None:
    """The art at 32 pixels on white: a row per concept, a column per style."""
    art = load_art(data)
    size = 32
    pictures = [
        np.asarray(
            Image.alpha_composite(Image.new("RGBA", one.shape[:2], "white"), Image.fromarray(one))
            .convert("RGB")
            .resize((size, size), Image.Resampling.BOX)
        )
        for of_concept in art
        for one in of_concept
    ]
    sheet = tile(torch.from_numpy(np.stack(pictures)), art.shape[1])
    sheet.quantize(192, dither=Image.Dither.NONE).save(path, optimize=True)


def compare(module: nn.Module, first: tuple[Any, ...], other: tuple[Any, ...]) -> float:
    """Export with a batch of any size, run both; the largest difference, at another batch size."""
    batch = torch.export.Dim("batch")
    shapes = tuple({0: batch} if value.ndim else None for value in first)
    program = torch.onnx.export(
        module, first, dynamo=True, opset_version=18, dynamic_shapes=(shapes,), verbose=False
    )
    assert program is not None
    content = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    feeds = {
        found.name: value.numpy() for found, value in zip(session.get_inputs(), other, strict=True)
    }
    with torch.no_grad():
        expected = module(*other)
    return float(np.abs(session.run(None, feeds)[0] - expected.numpy()).max())


class Call(nn.Module):
    """A function of tensors as a module, its networks in evaluation mode."""

    def __init__(self, part: nn.Module, call: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.part = part.eval()
        self._call = call

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self._call(self.part, *inputs)


def check_exports(pipeline: Any) -> dict[str, float]:
    """Largest difference between ONNX Runtime and torch, part by part, at a batch of 6."""
    unet = pipeline.unet
    length, width = pipeline.tokenizer.model_max_length, unet.config.cross_attention_dim
    shape = (unet.config.in_channels, unet.config.sample_size, unet.config.sample_size)

    def ids(count: int) -> tuple[torch.Tensor]:
        captions = [f"a cat number {number}" for number in range(count)]
        found = pipeline.tokenizer(
            captions, padding="max_length", max_length=length, return_tensors="pt"
        )
        return (found.input_ids,)

    def noise(count: int) -> tuple[torch.Tensor, ...]:
        return torch.randn(count, *shape), torch.tensor(501), torch.randn(count, length, width)

    text = Call(pipeline.text_encoder, lambda part, given: part(given).last_hidden_state)
    predict = Call(unet, lambda part, *given: part(*given, return_dict=False)[0])
    decode = Call(pipeline.vae, lambda part, given: part.decode(given, return_dict=False)[0])
    return {
        "text_encoder": compare(text, ids(2), ids(6)),
        "unet": compare(predict, noise(2), noise(6)),
        "vae_decoder": compare(decode, (torch.randn(2, *shape),), (torch.randn(6, *shape),)),
    }


def main() -> None:
    """Everything, or what the options leave."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=HERE / "pipeline")
    parser.add_argument("--pictures", type=Path, default=HERE, help="where the sheets go")
    parser.add_argument("--data-dir", type=Path, default=Path("build/emoji/data"))
    parser.add_argument("--rounds", type=int, default=5, help="pictures of each concept")
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 20, 50])
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 1.5, 2.0, 3.0])
    parser.add_argument("--default", type=float, nargs=2, default=[20, 2.0], help="steps, guidance")
    parser.add_argument("--only-table", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    pipeline = load(given.model)
    if not given.only_table:
        draw_samples(
            pipeline, int(given.default[0]), given.default[1], given.pictures / "samples.png"
        )
        draw_reference(given.data_dir, given.pictures / "reference.png")
        print(json.dumps(check_exports(pipeline)))  # noqa: T201
    settings = list(itertools.product(given.steps, given.guidance))
    table(pipeline, train_judge(given.data_dir), given.rounds, settings)


if __name__ == "__main__":
    main()
