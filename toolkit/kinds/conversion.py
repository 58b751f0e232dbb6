"""Describes the conversion of a kind's weights: the function, and its cost.

Plain data. The function is in `toolkit.convert`, which imports the libraries that it names.
"""

from dataclasses import dataclass
from typing import Literal

ONNX = "export to ONNX, compare with the source"
"""The title of conversions to ONNX."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Of a conversion: seconds and bytes of memory at its start, and for each byte of the result.

    Measured on two x86-64 cores without a GPU with models of 23 to 135 million parameters.
    """

    start_s: float
    s_per_gb: float
    start_bytes: float = 0.6e9
    memory: float = 4.0


@dataclass(frozen=True, slots=True)
class Conversion:
    """`function` of the module `module` takes a source, an empty folder and a Progress, and returns
    facts. `revision` is raised when its result changes; `libraries` are the distributions whose
    versions decide the result's bytes. `title` is its row of a dry run.

    `check` names what is looked at before a build (`toolkit.convert.early`). A directory must have
    the file `needs`; `source` is what messages call it. `limited`: its config.json says how many
    tokens the weights can take.
    """

    module: str
    function: str
    revision: int
    libraries: tuple[str, ...]
    title: str
    rate: Rate
    check: Literal["directory", "checkpoint", "gguf", "copy"] = "directory"
    source: str = ""
    needs: str = "config.json"
    limited: bool = True
