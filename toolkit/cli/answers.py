"""What `toolkit run` prints for models that do not chat: a vector, scores, the path of an image."""

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cli.output import print_json, print_line
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from toolkit.chat.client import Client

_LONGEST_NAME = 40


def print_vector(vector: list[float], model: str, as_json: bool) -> None:
    """One line of JSON; with `as_json` an object."""
    if as_json:
        print_json({"model": model, "dimensions": len(vector), "embedding": vector})
    else:
        print_line(json.dumps(vector))


def print_scores(client: "Client", model: str, query: str, text: str, as_json: bool) -> None:
    """Scores each line of `text` behind the query. Raises UsageError without lines."""
    lines = text.removeprefix(query).strip().splitlines() if query else []
    documents = [line for line in lines if line.strip()]
    if not documents:
        raise UsageError(
            f"{model} scores documents: give the query, and a document on each line of standard "
            "input",
            hint=f'toolkit run {model} "QUERY" < documents.txt',
        )
    scores = client.rerank(model, query, documents)
    if as_json:
        print_json([{"score": score, "document": document} for score, document in scores])
        return
    for score, document in scores:
        print_line(f"{score:.4f}\t{document}")


def write_image(
    client: "Client", model: str, prompt: str, output: Path | None, as_json: bool
) -> None:
    """Writes one image and prints its path; without `output`, a new file named after the prompt."""
    # before the image is drawn, which may take a minute
    if output is not None and not output.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {output.absolute().parent}", hint="create it first")
    (image,) = client.draw({"model": model, "prompt": prompt, "n": 1})
    path = output or _new_file(prompt)
    path.write_bytes(image)
    if as_json:
        print_json({"model": model, "path": str(path), "size_bytes": len(image)})
    else:
        print_line(str(path))


def _new_file(prompt: str) -> Path:
    """A file in the current folder that does not exist: `a-red-heart.png`, `a-red-heart-2.png`."""
    words = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:_LONGEST_NAME].strip("-")
    number = 1
    while True:
        path = Path(f"{words or 'image'}{f'-{number}' if number > 1 else ''}.png")
        try:
            # EXCL: two commands at the same time must not choose one name
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        except FileExistsError:
            number += 1
        else:
            return path
