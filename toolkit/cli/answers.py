"""What `toolkit run` prints for models that do not chat: a vector, scores, the path of an image."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.cli.output import print_json, print_line
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from toolkit.chat.client import Client


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
            f"{model} scores documents: pass the query, and one document per line on standard "
            "input",
            hint=f'toolkit run {model} "QUERY" < documents.txt',
        )
    scores = client.score(model, query, documents)
    if as_json:
        print_json([{"score": score, "document": document} for score, document in scores])
        return
    for score, document in scores:
        print_line(f"{score:.4f}\t{document}")


def write_image(client: "Client", body: dict[str, Any], output: Path | None, as_json: bool) -> None:
    """Writes one image and prints its path; without `output`, a new file named after the prompt."""
    from toolkit.chat.images import new_file

    (image,) = client.draw({**body, "n": 1})
    path = output or new_file(body["prompt"])
    path.write_bytes(image)
    if as_json:
        print_json({"model": body["model"], "path": str(path), "size_bytes": len(image)})
    else:
        print_line(str(path))
