"""The operator's limits on a request to a model, besides sizes. Pure."""

from dataclasses import dataclass

from frontend.domain.generation import Generation
from frontend.domain.models import Input, Model
from frontend.errors import InvalidRequest, NotCapable

_PROGRAMS = frozenset({"choice", "regex", "grammar", "structural_tag"})
"""Kinds of structure that a caller writes and that are not JSON schemas."""


@dataclass(frozen=True, slots=True)
class Policy:
    """`max_text_bytes` of one request's prompts or inputs together.

    `constraints`: the kinds of structure that callers may use besides JSON schemas.
    `local_groups`: the ids of the groups whose prompts may not leave the site; `*`: of everybody.
    """

    max_text_bytes: int = 4 * 2**20
    constraints: frozenset[str] = frozenset()
    local_groups: frozenset[str] = frozenset()

    def is_local(self, group: str) -> bool:
        """Whether prompts of a group must stay on the site."""
        return "*" in self.local_groups or group in self.local_groups


def require_capability(model: Model, name: str, capability: str) -> None:
    """Raises NotCapable when the model, which the caller calls `name`, lacks the capability."""
    if capability in model.capabilities:
        return
    has = ", ".join(sorted(model.capabilities)) or "nothing"
    raise NotCapable(
        f"the model '{name[:100]}' does not support {capability}; it supports {has}",
        model=name[:100],
        capability=capability,
    )


def check_generation(policy: Policy, model: Model, generation: Generation) -> None:
    """Raises InvalidRequest for tools that the model cannot take, and for forbidden structures."""
    if generation.tools is not None and Input.TOOLS not in model.accepts:
        raise InvalidRequest(
            f"the model '{model.name}' does not support tools; if an older toolkit built it,"
            " rebuild its repository; if another builder did, declare a 'chat_template' with tools",
            param="tools",
            code="model_not_supported",
        )
    structure = generation.structure
    if structure is not None and structure.kind in _PROGRAMS - policy.constraints:
        at, kind = structure.path, structure.kind
        raise InvalidRequest(
            f"'{at}' is not allowed on this server; the operator can allow {kind!r} with the"
            " setting 'constraints'",
            param=at,
            code="unsupported_parameter",
        )
