"""vLLM's schedulers, with grammars outside the engine's core process.

Named in the engine's configuration; they live in the core process. All masks of a step are asked
for at once, and vLLM ends a request whose grammar failed, because its token is not accepted.
"""

from typing import Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler  # type: ignore[import-not-found]
from vllm.v1.core.sched.scheduler import Scheduler  # type: ignore[import-not-found]

from python_backends.vllm_engine.masks import HostedGrammar, MaskBackend, wait_for_masks


class _Hosted:
    """Beside a scheduler of vLLM's."""

    structured_output_manager: Any
    requests: dict[str, Any]

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named)
        manager = self.structured_output_manager
        # before the first request, which would choose one for all that follow
        manager.backend = MaskBackend(manager.vllm_config, None, 0)

    def get_grammar_bitmask(self, scheduler_output: Any) -> Any:
        drafts = scheduler_output.scheduled_spec_decode_tokens
        if scheduler_output.has_structured_output_requests:
            wait_for_masks(
                grammar
                for request_id in scheduler_output.num_scheduled_tokens
                if request_id not in drafts
                and (grammar := _grammar_of(self.requests.get(request_id))) is not None
            )
        return super().get_grammar_bitmask(scheduler_output)  # type: ignore[misc]


class HostedScheduler(_Hosted, Scheduler):  # type: ignore[misc]
    """For a step after the other."""


class HostedAsyncScheduler(_Hosted, AsyncScheduler):  # type: ignore[misc]
    """For steps that are scheduled before the one before is done."""


def _grammar_of(request: Any) -> HostedGrammar | None:
    if request is None or not request.use_structured_output or request.is_prefill_chunk:
        return None
    grammar = request.structured_output_request.grammar
    return grammar if isinstance(grammar, HostedGrammar) else None
