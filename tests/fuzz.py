"""`python -m tests.fuzz SECONDS`: the property tests with new examples, again and again, in time.

Ends with the first failure, which hypothesis prints with the example to add as a case. Tests that
start an engine draw the same examples as ever: they are too slow for this.
"""

import os
import subprocess
import sys
import time

COMMAND = (sys.executable, "-m", "pytest", "-q", "-x", "-m", "hypothesis and not slow_engine")
IGNORED = ("--ignore=tests/e2e", "--ignore=tests/attack", "--timeout=0")


def main() -> int:
    """The exit status: pytest's for a failure, 0 when time is up."""
    end_s = time.monotonic() + float(sys.argv[1])
    environment = {**os.environ, "HYPOTHESIS_PROFILE": "fuzz"}
    rounds = 0
    while (left_s := end_s - time.monotonic()) > 0:
        try:
            done = subprocess.run(
                [*COMMAND, *IGNORED], check=False, env=environment, timeout=left_s
            )
        except subprocess.TimeoutExpired:
            break
        if done.returncode:
            return done.returncode
        rounds += 1
    sys.stdout.write(f"no counterexample in {rounds} whole rounds\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
