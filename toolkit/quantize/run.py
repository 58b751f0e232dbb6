"""`toolkit quantize` as a function: writes the result and its report.

Invariant: the output is complete and within its limits, or does not exist. A result that exceeds a
limit is kept as `OUTPUT.rejected`.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from toolkit.atomic import make_new
from toolkit.errors import QuantizeError
from toolkit.quantize.limits import refuse

Make = Callable[[Path], dict[str, Any]]


def place_result(output: Path, make: Make) -> dict[str, Any]:
    """Lets `make` fill an empty folder, which becomes `output` when its report is good enough.

    Raises QualityError when it is not, QuantizeError when `output` is there already or the disk
    cannot hold the result.
    """
    output = output.absolute()
    report: dict[str, Any] = {}

    def fill(scratch: Path) -> None:
        report.update(make(scratch))
        if broken := report["failures"]:
            aside = output.with_name(f"{output.name}.rejected")
            shutil.rmtree(aside, ignore_errors=True)
            # out of the folder that `ensure` removes when this function raises
            scratch.rename(aside)
            raise refuse(broken, aside)

    make_new(output, fill, QuantizeError)
    return report
