"""What a rule is: a function over one model, with a name, a title and an explanation.

Rules do not depend on each other or on how findings are shown; `table` lists them all.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from inspect import cleandoc

from toolkit.finding import Severity
from toolkit.verifier.finding import Effect, ModelFinding
from toolkit.verifier.model import Model

_OUTCOMES = {
    Effect.REFUSED: "{target} refuses to load the model",
    Effect.FAILS: "{target} loads the model, then requests fail",
    Effect.SILENT: "{target} loads the model and returns wrong data without an error",
    Effect.RISK: "{target} loads the model, but it may not work",
    Effect.IGNORED: "{target} loads the model and ignores this setting",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """`explanation` is the check's own docstring. `parsed`: needs a config that parses."""

    id: str
    title: str
    effect: Effect
    check: Callable[[Model], Iterable[ModelFinding]]
    parsed: bool = True

    @property
    def severity(self) -> Severity:
        return self.effect.severity

    @property
    def explanation(self) -> str:
        return cleandoc(self.check.__doc__ or "")

    def apply(self, model: Model) -> Iterator[ModelFinding]:
        """The findings about one model, completed with the rule's own effect and outcome."""
        # an incomplete config would only give findings that follow from the syntax error
        if self.parsed and model.error is not None:
            return
        for draft in self.check(model):
            effect = draft.effect or self.effect
            outcome = draft.outcome or _OUTCOMES[effect]
            yield replace(
                draft,
                severity=effect.severity,
                code=self.id,
                model=model.name,
                effect=effect,
                # outcomes name the release, because the next one may behave differently
                outcome=outcome.format(target=model.target.label),
            )


Check = Callable[[Model], Iterable[ModelFinding]]


def rule(name: str, title: str, effect: Effect, *, parsed: bool = True) -> Callable[[Check], Rule]:
    """Makes a rule of a function; its docstring is the rule's explanation."""

    def make(check: Check) -> Rule:
        return Rule(name, title, effect, check, parsed)

    return make
