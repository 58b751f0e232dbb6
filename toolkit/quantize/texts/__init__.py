"""Texts for calibration and evaluation: those of the package, and the user's own.

Invariant: the evaluation does not contain a sentence of the calibration.
"""

import hashlib
import json
import pydoc_data.topics
import random
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module, resources
from pathlib import Path
from typing import Any

from toolkit.errors import MissingExtra, QuantizeError

Sample = str | list[dict[str, Any]]
"""A text, or the messages of a chat."""
_FOLDER = resources.files("toolkit.quantize.texts")
_FEWEST_WORDS = 40
_SHARED_WORDS = 12
"""This many shared words in a row are not a coincidence."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Samples in the order in which they are taken; `origin` is for the report."""

    samples: list[Sample]
    origin: str

    @property
    def digest(self) -> str:
        text = json.dumps(self.samples, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def load_calibration(chosen: str | None, evaluation: Sequence[str]) -> Calibration:
    """The shipped texts; or a .txt (passages between blank lines) or .jsonl file; or `hf:NAME`.

    Raises QuantizeError when it cannot be read, is empty, or shares text with `evaluation`.
    """
    if chosen is None:
        return Calibration(_shipped(), "texts of triton-toolkit, and Python's own help")
    samples = _from_hub(chosen[3:]) if chosen.startswith("hf:") else _from_file(Path(chosen))
    if not samples:
        raise QuantizeError(
            f"{chosen} does not contain texts", hint="write one passage per paragraph or line"
        )
    if shared := _shared(samples, evaluation):
        raise QuantizeError(
            f"{chosen} contains text that is also used to measure the quality: “{shared} …”",
            hint="calibrate with other text, or measure with another file: --evaluation",
        )
    return Calibration(samples, chosen)


def load_evaluation(chosen: Path | None) -> list[str]:
    """The shipped passages, or those of a file: separated by `---` lines or blank lines."""
    if chosen is None:
        text = (_FOLDER / "evaluation.txt").read_text(encoding="utf-8")
        return [passage.strip() for passage in text.split("\n---\n")]
    passages = [sample for sample in _from_file(chosen) if isinstance(sample, str)]
    if not passages:
        raise QuantizeError(
            f"{chosen} does not contain passages", hint="write one passage per paragraph"
        )
    return passages


def _shipped() -> list[Sample]:
    """The project's own texts, then the interpreter's help in an order that is always the same."""
    chapters: list[Sample] = [
        text
        # it differs between versions of Python; the samples' digest is in the result's key
        for _, text in sorted(pydoc_data.topics.topics.items())
        if len(text.split()) >= _FEWEST_WORDS
    ]
    random.Random(0).shuffle(chapters)  # noqa: S311  an order, not a secret
    return _lines((_FOLDER / "calibration.jsonl").read_text(encoding="utf-8"), "") + chapters


def _from_file(path: Path) -> list[Sample]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise QuantizeError(f"{path} is not UTF-8 text: {error.reason}") from error
    except OSError as error:
        raise QuantizeError(
            f"{path} cannot be read: {error.strerror}", hint="name a .txt or .jsonl file"
        ) from error
    if path.suffix in {".jsonl", ".json"}:
        return _lines(text, str(path))
    separator = "\n---\n" if "\n---\n" in text else "\n\n"
    return [passage.strip() for passage in text.split(separator) if passage.strip()]


def _lines(text: str, name: str) -> list[Sample]:
    samples: list[Sample] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            sample = entry.get("messages") or entry["text"]
        except (ValueError, KeyError, AttributeError) as error:
            raise QuantizeError(
                f'{name}:{number}: no {{"text": …}} or {{"messages": […]}}: {error!r}'
            ) from error
        samples.append(sample)
    return samples


def _from_hub(name: str) -> list[Sample]:
    """The column `text` or `messages` of a data set's training split, streamed."""
    try:
        datasets = import_module("datasets")
    except ImportError as error:
        raise MissingExtra("weights", f"the calibration data hf:{name}") from error
    try:
        # streamed: a data set may have terabytes, and calibrating takes a few hundred rows
        rows = datasets.load_dataset(name, split="train", streaming=True).take(2048)
        return [row.get("messages") or row["text"] for row in rows]
    except KeyError as error:
        raise QuantizeError(f"hf:{name} has no column 'text' or 'messages'") from error
    except Exception as error:  # the library raises anything
        raise QuantizeError(
            f"hf:{name} cannot be read: {str(error).strip().splitlines()[0]}",
            hint="check the name and the network, or name a file",
        ) from error


def _shared(samples: Sequence[Sample], evaluation: Sequence[str]) -> str | None:
    """The first run of `_SHARED_WORDS` words that is in both."""
    judged = {run for passage in evaluation for run in _runs(passage)}
    for sample in samples:
        texts = [sample] if isinstance(sample, str) else [str(m.get("content")) for m in sample]
        for text in texts:
            for run in _runs(text):
                if run in judged:
                    return " ".join(run)
    return None


def _runs(text: str) -> list[tuple[str, ...]]:
    words = text.split()
    # a text shorter than a run is one run
    last = max(1, len(words) - _SHARED_WORDS + 1)
    return [tuple(words[start : start + _SHARED_WORDS]) for start in range(last)]
