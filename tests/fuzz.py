"""`python -m tests.fuzz SECONDS`: random inputs for as long as that, more than `make test` draws.

First all random models, then the property tests with new examples, again and again. Ends with the
first failure, which pytest prints with the example to add as a case. Tests that start an engine
draw the same examples as ever: they are too slow for this.
"""

import itertools
import os
import signal
import subprocess
import sys
import time

PYTEST = (sys.executable, "-m", "pytest", "-q", "-x", "--timeout=0")
MODELS = (*PYTEST, "tests/toolkit/convert/test_fuzz.py")
PROPERTIES = (
    *PYTEST,
    *("-m", "hypothesis and not engine"),
    *("--ignore=tests/e2e", "--ignore=tests/attack"),
)
_END_S = 60.0
"""For the servers of an interrupted round to end."""


def main() -> int:
    """The exit status: pytest's for a failure, 0 when time is up."""
    end_s = time.monotonic() + float(sys.argv[1])
    for rounds, command in enumerate(itertools.chain([MODELS], itertools.repeat(PROPERTIES))):
        code = run(command, end_s - time.monotonic())
        if code is None:
            sys.stdout.write(f"no counterexample in {rounds} whole rounds\n")
            return 0
        if code:
            return code
    return 0


def run(command: tuple[str, ...], left_s: float) -> int | None:
    """pytest's exit status; None when there was no time, or not enough."""
    if left_s <= 0:
        return None
    environment = {**os.environ, "HYPOTHESIS_PROFILE": "fuzz"}
    with subprocess.Popen(command, env=environment) as process:
        try:
            return process.wait(left_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # so that fixtures end what they started
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
            return None


if __name__ == "__main__":
    sys.exit(main())
