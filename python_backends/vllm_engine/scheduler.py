"""vLLM's schedulers, with grammars in processes outside the engine's core.

Set in the engine's configuration and run in its core process. All bitmasks of a step are requested
at once. vLLM ends a request whose grammar failed, because its token is not accepted.
"""

import os
from typing import Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler  # type: ignore[import-not-found]
from vllm.v1.core.sched.scheduler import Scheduler  # type: ignore[import-not-found]

from python_backends.stages import VARIABLE, open_stages
from python_backends.vllm_engine.bitmasks import BitmaskBackend, RemoteGrammar, wait_for_bitmasks


class _WithGrammars:
    """Mixed into a scheduler of vLLM's."""

    structured_output_manager: Any
    requests: dict[str, Any]
    add_request: Any
    schedule: Any
    update_from_output: Any

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named)
        manager = self.structured_output_manager
        # before the first request, which would choose one for all that follow
        manager.backend = BitmaskBackend(manager.vllm_config, None, 0)
        self._stamp = open_stages(os.environ.get(VARIABLE, ""))
        if self._stamp is not None:
            self.add_request = self._stamped("core in", self.add_request, _id_of)
            self.schedule = self._stamped("step in", self.schedule, _none)
            self.update_from_output = self._stamped("step out", self.update_from_output, _none)

    def _stamped(self, stage: str, work: Any, name: Any) -> Any:
        def run(*values: Any, **named: Any) -> Any:
            assert self._stamp is not None
            self._stamp(stage, name(*values))
            return work(*values, **named)

        return run

    def get_grammar_bitmask(self, scheduler_output: Any) -> Any:
        drafts = scheduler_output.scheduled_spec_decode_tokens
        if scheduler_output.has_structured_output_requests:
            wait_for_bitmasks(
                grammar
                for request_id in scheduler_output.num_scheduled_tokens
                # with drafts vLLM itself asks, one mask per drafted token
                if request_id not in drafts
                and (grammar := _grammar_of(self.requests.get(request_id))) is not None
            )
        return super().get_grammar_bitmask(scheduler_output)  # type: ignore[misc]


class GrammarScheduler(_WithGrammars, Scheduler):  # type: ignore[misc]
    """For synchronous scheduling."""


class AsyncGrammarScheduler(_WithGrammars, AsyncScheduler):  # type: ignore[misc]
    """For asynchronous scheduling: a step is scheduled while the previous one runs."""


def _id_of(request: Any, *_: Any) -> str:
    return str(request.request_id)


def _none(*_: Any) -> str:
    return ""


def _grammar_of(request: Any) -> RemoteGrammar | None:
    # a chunk of a long prompt does not sample a token
    if request is None or not request.use_structured_output or request.is_prefill_chunk:
        return None
    grammar = request.structured_output_request.grammar
    return grammar if isinstance(grammar, RemoteGrammar) else None
