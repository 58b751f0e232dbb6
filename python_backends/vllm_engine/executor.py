"""vLLM's executor, but the scheduler sleeps while the workers compute on a CPU.

vLLM's scheduler polls for the result in a busy loop. With a GPU that core is idle anyway; on a CPU
the loop takes 70 to 85 % of a core (measured on 2 cores) from the model, the gateway and Triton.
"""

import time

from vllm.v1.executor.multiproc_executor import MultiprocExecutor  # type: ignore[import-not-found]

_SLEEP_S = 0.0005
"""Between two polls; a step takes about a hundred times as long."""


class SleepingExecutor(MultiprocExecutor):  # type: ignore[misc]
    """Set in the engine arguments; runs in the engine's core process."""

    def _init_executor(self) -> None:
        # the queues to the workers exist only after this
        super()._init_executor()
        for queue in self.response_mqs:
            queue._spin_condition.wait = _sleep


def _sleep(**_timeout: object) -> None:
    time.sleep(_SLEEP_S)
