"""Decides what to quantize, and how, before the heavy work begins.

Refuses options that do not fit the method, the model or the machine; does not read tensors.
"""

import json
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from toolkit.convert.checkpoint import positions
from toolkit.errors import MissingExtra, QuantizeError
from toolkit.quantize.checkpoint import Checkpoint, read_checkpoint
from toolkit.quantize.layers import Layers, select_layers
from toolkit.quantize.limits import Limits
from toolkit.quantize.methods import Method, choose_group_size, find_method
from toolkit.quantize.texts import Calibration, load_calibration, load_evaluation
from toolkit.weights.sources import Fetched

_REVISION = 5
_LIBRARIES = ("llmcompressor", "compressed-tensors", "torch", "transformers")
LAYOUTS = ("compressed-tensors", "autoawq")
_SAMPLES = {"cuda": (256, 512), "cpu": (32, 256)}
"""Rows of calibration text and their length: what takes minutes."""
JUDGED_LENGTH = 512
"""Tokens of a passage that judges the result; fewer where the model knows fewer positions."""
ANSWER_LENGTH = 64
_LEAST_POSITIONS = 8


@dataclass(frozen=True, slots=True)
class Options:
    """How to quantize. None means: what fits the model, or the machine."""

    method: str
    group_size: int | None = None
    symmetric: bool = True
    ignore: tuple[str, ...] = ()
    calibration: str | None = None
    samples: int | None = None
    length: int | None = None
    search: int = 20
    device: str = "auto"
    shard_size: str = "5GB"
    layout: str = "compressed-tensors"


@dataclass(frozen=True, slots=True)
class Judging:
    """How the result is measured: the text, the limits, and whether the engine runs it.

    `title` is what the report calls the model.
    """

    limits: Limits = Limits()  # noqa: RUF009  frozen
    evaluation: Path | None = None
    passages: int = 64
    engine: bool = True
    rounds: int = 3
    title: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """Everything decided before heavy work begins."""

    checkpoint: Checkpoint
    digest: str
    conversion: str
    method: Method
    options: Options
    layers: Layers
    group_size: int | None
    calibration: Calibration | None
    passages: list[str]
    count: int
    length: int
    context_length: int

    @property
    def judged_length(self) -> int:
        """One less than the model knows at most: the engine adds a token to each passage."""
        return min(JUDGED_LENGTH, self.context_length - 1)

    @property
    def key(self) -> str:
        """The key of the quantized files: everything that affects them, as one line."""
        o = self.options
        text = None if self.calibration is None else self.calibration.digest
        # resolved names: two ways of writing `--ignore` share a result
        left_out = self.layers.left_out
        settings = [o.symmetric, left_out, o.search, o.shard_size, self.count, self.length]
        # a newer recipe may write other weights of the same source
        source = [self.digest, *([self.conversion] if self.conversion else [])]
        return json.dumps(
            [_REVISION, *source, o.method, self.group_size, text, settings, libraries()]
        )


def prepare(fetched: Fetched, options: Options, judging: Judging) -> Job:
    """Fills in the defaults. Raises QuantizeError or ConvertError if the options do not suit the
    model."""
    method = find_method(options.method)
    _check_options(method, options)
    checkpoint = read_checkpoint(fetched.path)
    layers = select_layers(checkpoint.tensors, options.ignore)
    passages = load_evaluation(judging.evaluation)
    count, length = _SAMPLES["cpu" if options.device == "cpu" or not _has_gpu() else "cuda"]
    most = _context_length(checkpoint, options)
    return Job(
        checkpoint=checkpoint,
        digest=fetched.digest,
        conversion=fetched.conversion,
        method=method,
        options=options,
        layers=layers,
        group_size=choose_group_size(layers.inputs, options.group_size) if method.grouped else None,
        calibration=load_calibration(options.calibration, passages) if method.reads_text else None,
        passages=passages[: judging.passages],
        count=options.samples or count,
        length=options.length or min(length, most),
        context_length=most,
    )


def _context_length(checkpoint: Checkpoint, options: Options) -> int:
    """Tokens that the model knows, as far as they are needed here."""
    longest = max(JUDGED_LENGTH, options.length or 0) + ANSWER_LENGTH
    most = min(positions(checkpoint.config) or longest, longest)
    if options.length is not None and options.length > most:
        raise QuantizeError(
            f"--length {options.length} exceeds the model's maximum of {most} tokens",
            hint=f"pass at most --length {most}",
        )
    if most < _LEAST_POSITIONS:
        raise QuantizeError(
            f"{checkpoint.folder} supports only {most} positions",
            hint="use a model with at least 8 positions",
        )
    return most


def _check_options(method: Method, options: Options) -> None:
    """Refuses options that the method has no use for, rather than dropping them."""
    wrong = []
    if not method.grouped and options.group_size is not None:
        wrong.append("--group-size requires --awq, --gptq or --int4-rtn")
    if not method.grouped and not options.symmetric:
        wrong.append("--asymmetric requires --awq, --gptq or --int4-rtn")
    if not method.reads_text and options.calibration is not None:
        wrong.append(
            "--calibration requires --awq, --gptq or --int8; other methods do not use text"
        )
    if options.layout not in LAYOUTS:
        wrong.append(f"--layout must be one of {', '.join(LAYOUTS)}")
    elif options.layout == "autoawq" and not method.grouped:
        wrong.append("--layout autoawq requires 4-bit weights: --awq, --gptq or --int4-rtn")
    if options.search < 4:
        wrong.append("--search must be at least 4, so that there are scales to choose from")
    if options.device == "cuda" and not _has_gpu():
        wrong.append("--device cuda requires a GPU, but none was found; use --device cpu")
    if wrong:
        error = QuantizeError(
            f"--{method.name}: {'; '.join(wrong)}", hint="toolkit quantize --help"
        )
        # the status of a command that is used wrongly, not of one that failed
        error.exit_code = 2
        raise error


def _has_gpu() -> bool:
    # the driver's device: importing torch takes seconds, and it is not needed in this process
    return Path("/dev/nvidiactl").exists()


def libraries() -> dict[str, str]:
    """The versions of the libraries that affect a result. Raises MissingExtra if one is not
    installed."""
    try:
        return {name: version(name) for name in _LIBRARIES}
    except PackageNotFoundError as error:
        raise MissingExtra("weights", f"quantizing (it lacks {error.name})") from error
