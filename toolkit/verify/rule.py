"""What a rule is: a function over one model, with a name, a title and an explanation.

Rules do not know of each other or of how findings are shown; `table` lists them all.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from inspect import cleandoc

from toolkit.verify.model import Hit, Model
from toolkit.verify.problem import Effect, Problem, Severity

_OUTCOMES = {
    Effect.REFUSED: "{target} refuses to load the whole model",
    Effect.FAILS: "{target} loads the model, then requests fail",
    Effect.SILENT: "{target} loads the model and answers with wrong data, in silence",
    Effect.RISK: "{target} loads the model; it works only under conditions",
    Effect.IGNORED: "{target} loads the model and ignores this",
}
_SEVERITIES = {Effect.RISK: Severity.WARNING, Effect.IGNORED: Severity.WARNING}


@dataclass(frozen=True, slots=True)
class Rule:
    """`explanation` is the check's own docstring. `parsed`: needs a config that parses."""

    id: str
    title: str
    effect: Effect
    check: Callable[[Model], Iterable[Hit]]
    parsed: bool = True

    @property
    def severity(self) -> Severity:
        return _severity(self.effect)

    @property
    def explanation(self) -> str:
        return cleandoc(self.check.__doc__ or "")

    def apply(self, model: Model) -> Iterator[Problem]:
        """The problems of one model."""
        if self.parsed and model.error is not None:
            return
        for hit in self.check(model):
            effect = hit.effect or self.effect
            outcome = hit.outcome or _OUTCOMES[effect]
            yield Problem(
                rule=self.id,
                severity=_severity(effect),
                effect=effect,
                model=model.name,
                place=hit.place,
                field=hit.field,
                message=hit.message,
                outcome=outcome.format(target=model.target.label),
                fix=hit.fix,
            )


def _severity(effect: Effect) -> Severity:
    return _SEVERITIES.get(effect, Severity.ERROR)


Check = Callable[[Model], Iterable[Hit]]


def rule(name: str, title: str, effect: Effect, *, parsed: bool = True) -> Callable[[Check], Rule]:
    """Makes a rule of a function; its docstring is the rule's explanation."""

    def make(check: Check) -> Rule:
        return Rule(name, title, effect, check, parsed)

    return make
