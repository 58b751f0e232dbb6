"""vLLM's own executor, but on CPUs the scheduler sleeps while its workers compute.

Where a GPU computes, a scheduler that asks for the result in a tight loop costs a core that nobody
needs. On a CPU it takes that core from the model, the gateway and Triton for as long as anything is
generated: 70 to 85 % of it, measured on 2 cores.
"""

import time

from vllm.v1.executor.multiproc_executor import MultiprocExecutor  # type: ignore[import-not-found]

_NAP_S = 0.0005
"""Between two looks for a result; a step takes a hundred times as long."""


class PatientExecutor(MultiprocExecutor):  # type: ignore[misc]
    """Named in the engine arguments; lives in the engine's core process."""

    def _init_executor(self) -> None:
        super()._init_executor()
        for queue in self.response_mqs:
            queue._spin_condition.wait = _nap


def _nap(**_timeout: object) -> None:
    time.sleep(_NAP_S)
