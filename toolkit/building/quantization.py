"""Quantizes an entry's weights during a build, and caches the result by content.

A folder in the cache holds the same steps as the unquantized one, and the report of what it cost.
What breaks the default limits is never built.
"""

import json
import shutil
from pathlib import Path

from toolkit import kinds
from toolkit.atomic import ensure
from toolkit.convert.describe import describe
from toolkit.convert.kept import open_to_all
from toolkit.errors import QualityError
from toolkit.facts import write_facts
from toolkit.home import home
from toolkit.kinds import read_facts
from toolkit.kinds.llm.facts import LlmFacts
from toolkit.progress import Progress
from toolkit.quantize.job import Judging, Options, libraries
from toolkit.quantize.language import quantize_language
from toolkit.spec import SourcedEntry
from toolkit.weights.digest import text_digest
from toolkit.weights.sources import Fetched

_REVISION = 1
_METHODS = {"int4": "int4-rtn"}
"""What models.yaml calls otherwise than `toolkit quantize`."""
_WEIGHTS = Path("engine") / "weights"


def quantize_entry(
    name: str, entry: SourcedEntry, converted: Path, digest: str, progress: Progress
) -> Path:
    """The folder made from `converted` whose weights have the entry's number type, or `converted`
    itself for an entry without one.

    `digest` is the source's. Raises QuantizeError when model and method do not fit together,
    QualityError when the result is not good enough, and MissingExtra without the libraries of the
    extra `weights`.
    """
    number_type = kinds.of(entry).quantization(entry)
    if number_type is None:
        return converted
    method = method_of(number_type)

    def make(scratch: Path) -> None:
        _link(converted, scratch)
        weights = scratch / _WEIGHTS
        weights.mkdir(parents=True)
        source = Fetched(converted / _WEIGHTS, digest, conversion=converted.name)
        # without vLLM: its environment may not be installed where repositories are built
        judging = Judging(engine=False, title=name)
        report = quantize_language(source, Options(method), judging, weights, progress)
        (weights / "quality").rename(scratch / "quality")
        if broken := report["failures"]:
            raise QualityError(
                f"'{name}' with `quantization: {number_type}` does not meet its "
                f"limits: {'; '.join(broken)}",
                hint=f"choose another method, or read the report: toolkit quantize {entry.source} "
                f"--{method}; to accept the result, use it as `source: path:…`",
            )
        _tell(scratch)
        open_to_all(scratch)

    return ensure(quantized_place(number_type, converted), make)


def method_of(quantization: str) -> str:
    """The method of `toolkit quantize` for an entry's quantization."""
    return _METHODS.get(quantization, quantization)


def quantized_place(quantization: str, converted: Path) -> Path:
    """The cache folder of the quantized weights, which may not exist. Raises MissingExtra without
    the libraries of the extra `weights`."""
    key = json.dumps([_REVISION, converted.name, method_of(quantization), libraries()])
    return home() / "weights" / text_digest(key)[:32]


def _link(converted: Path, scratch: Path) -> None:
    """Everything but the weights."""
    for path in converted.rglob("*"):
        relative = path.relative_to(converted)
        if path.is_file() and not relative.is_relative_to(_WEIGHTS):
            (scratch / relative).parent.mkdir(parents=True, exist_ok=True)
            # copies, not links: `_tell` rewrites the facts, which would change the source's
            shutil.copyfile(path, scratch / relative)


def _tell(scratch: Path) -> None:
    """Facts of the new weights; their parameters are as many as before."""
    facts = read_facts(scratch)
    assert isinstance(facts, LlmFacts)
    about = describe(scratch / _WEIGHTS)
    about = about.model_copy(update={"parameters": facts.details.parameters})
    write_facts(scratch, facts.model_copy(update={"details": about}))
