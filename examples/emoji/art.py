"""Emoji art: fetched from its packages, drawn, moved about a little, put on a background.

Pictures are premultiplied RGBA until a background is chosen; `compose` makes RGB of them. The pool
is the same for the same seed. It does not know about models.
"""

import io
import json
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from tqdm import tqdm

Bytes = npt.NDArray[np.uint8]
HERE = Path(__file__).parent
DRAWN = 192  # pixels; several times the trained size, so that turning and shrinking stay sharp


@dataclass(frozen=True)
class Pool:
    """Pictures of every concept in every style: RGBA premultiplied UINT8 [N, size, size, 4]."""

    pictures: torch.Tensor
    concepts: torch.Tensor  # INT64 [N]
    styles: torch.Tensor  # INT64 [N]


def load_prompts() -> dict[str, Any]:
    """What the model knows: prompts.json beside this file."""
    content: dict[str, Any] = json.loads((HERE / "prompts.json").read_text())
    return content


def fetch(package: str, version: str, folder: Path) -> dict[str, Any]:
    """The icons of one package, by the npm client unless the folder has them already."""
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"{package.strip('@').replace('/', '-')}-{version}.tgz"
    if not archive.exists():
        command = ["npm", "pack", "--silent", f"{package}@{version}"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(archive) as files:
        member = files.extractfile("package/icons.json")
        assert member is not None, archive
        icons: dict[str, Any] = json.load(member)
    return icons


def draw(icons: dict[str, Any], name: str) -> Image.Image:
    """One icon as RGBA, DRAWN pixels wide and high."""
    import resvg_py  # noqa: PLC0415

    icon = icons["icons"].get(name) or icons["icons"][icons["aliases"][name]["parent"]]
    width = icon.get("width", icons.get("width", 16))
    height = icon.get("height", icons.get("height", 16))
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    svg = f'<svg {spaces} viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
    png = resvg_py.svg_to_bytes(svg_string=svg, width=DRAWN, height=DRAWN)
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA")


def load_art(folder: Path) -> Bytes:
    """Every concept in every style: RGBA [concepts, styles, DRAWN, DRAWN, 4], kept in `folder`."""
    kept = folder / "art.npz"
    if kept.exists():
        content: Bytes = np.load(kept)["art"]
        return content
    prompts = load_prompts()
    sets = [fetch(art["package"], art["version"], folder) for art in prompts["art"]]
    names = [concept["icon"] for concept in prompts["concepts"]]
    drawn = np.stack([np.stack([np.asarray(draw(icons, n)) for icons in sets]) for n in names])
    np.savez_compressed(kept, art=drawn)
    return drawn


def place(
    picture: Image.Image, size: int, scale: float, turn: float, shift: tuple[float, float]
) -> Bytes:
    """The picture in the middle of a square, `scale` of its width, turned and shifted (pixels)."""
    large = size * 2
    inner = round(large * scale)
    canvas = Image.new("RGBa", (large, large))
    corner = (large - inner) // 2
    small = picture.convert("RGBa").resize((inner, inner), Image.Resampling.BOX)
    canvas.paste(small, (corner, corner))
    moved = canvas.rotate(
        turn, Image.Resampling.BILINEAR, translate=(round(shift[0] * 2), round(shift[1] * 2))
    )
    return np.asarray(moved.reduce(2))


def make_pool(art: Bytes, size: int, copies: int, seed: int) -> Pool:
    """`copies` of each drawing, each moved a little."""
    random = np.random.default_rng(seed)
    pictures, concepts, styles = [], [], []
    for concept, of_concept in enumerate(tqdm(art, desc="pictures", leave=False)):
        for style, drawing in enumerate(of_concept):
            source = Image.fromarray(drawing)
            for _ in range(copies):
                shift = tuple(random.uniform(-1.5, 1.5, 2))
                scale, turn = random.uniform(0.84, 0.94), random.uniform(-7, 7)
                pictures.append(place(source, size, scale, turn, (shift[0], shift[1])))
                concepts.append(concept)
                styles.append(style)
    return Pool(torch.from_numpy(np.stack(pictures)), torch.tensor(concepts), torch.tensor(styles))


def compose(pictures: torch.Tensor, colours: torch.Tensor) -> torch.Tensor:
    """Premultiplied RGBA UINT8 [N, H, W, 4] on colours UINT8 [N, 3] -> FP32 [N, 3, H, W], -1…1."""
    pixels = pictures.permute(0, 3, 1, 2).float() / 255
    behind = colours.float()[:, :, None, None] / 255
    return (pixels[:, :3] + (1 - pixels[:, 3:]) * behind) * 2 - 1
