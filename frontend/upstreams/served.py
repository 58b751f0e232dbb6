"""The models of one upstream, and which of them a name leads to. It does not poll.

A name leads to a model of that name, else by an alias, else by the most specific pattern of an
alias with a wildcard (`patterns.py`). Models that were ready before stay known.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from frontend.domain.models import Model
from frontend.upstreams.names import PATTERN, Match
from frontend.upstreams.patterns import WILDCARD, Patterns

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Served:
    """Models by every name that they answer to; `mapping` holds the operator's own names."""

    mapping: Mapping[str, str]
    ready: dict[str, Model] = field(default_factory=dict)
    """Those of the last poll, by their names and aliases."""
    known: dict[str, Model] = field(default_factory=dict)
    """Every model that was ever ready, by its own name."""
    _patterns: Patterns = field(default_factory=lambda: Patterns({}))
    _seen: dict[str, str] = field(default_factory=dict)
    _seen_patterns: dict[str, str] = field(default_factory=dict)
    _since_s: dict[str, int] = field(default_factory=dict)

    @property
    def names(self) -> dict[str, Model]:
        """The ready models by every name, in order."""
        exact = (name for name in self.mapping if WILDCARD not in name)
        mapped = {name: self.ready.get(self._mapped(name)) for name in exact}
        names = dict(self.ready) | {name: model for name, model in mapped.items() if model}
        return dict(sorted(names.items()))

    def absent(self, ready: Iterable[Model]) -> list[str]:
        """Names of the models that were ready before and are not among these."""
        seen = {name for name in self._seen.values() if not self._is_version(name)}
        return sorted(seen - {model.name for model in ready})

    def _is_version(self, name: str) -> bool:
        return (model := self.known.get(name)) is not None and bool(model.version_of)

    def match(self, names: Sequence[str]) -> Match | None:
        """The ready model that the likeliest of the names leads to."""
        spelled = [self._mapped(one) for one in names]
        for name in spelled:
            if (model := self.ready.get(name)) is not None:
                return Match(model, 0 if model.name == name else 1)
        targets = map(self._patterns.find, spelled)
        found = next((self.ready[name] for name in targets if name and name in self.ready), None)
        return None if found is None else Match(found, PATTERN)

    def find_known(self, names: Sequence[str], *, by_pattern: bool = True) -> str | None:
        """The first of the names that leads to a model that was ready before."""
        for name in map(self._mapped, names):
            if name in self._seen or (by_pattern and self._patterns.find(name) is not None):
                return name
        return None

    def own_name(self, name: str) -> str:
        """The upstream's own name of the model that `name` leads to, loaded now or not."""
        name = self._mapped(name)
        return self._seen.get(name, name)

    def _mapped(self, name: str) -> str:
        """Where the operator's mapping leads; it has no cycles (`find_cycle`)."""
        while name in self.mapping:
            name = self.mapping[name]
        return name

    def learn(self, models: Sequence[Model]) -> None:
        """Takes the models of a poll; of two with the same alias, the later one has it."""
        now_s = int(time.time())
        models = [
            model
            if model.created_s
            # Triton does not say it, and the answer of /v1/models must not change with each poll
            else replace(model, created_s=self._since_s.setdefault(model.name, now_s))
            for model in models
        ]
        ready = {alias: model for model in models for alias in model.aliases}
        ready |= {model.name: model for model in models}  # a name beats another model's alias
        # once per change, since this runs every two seconds
        if ready.keys() != self.ready.keys():
            _log.info("serving %s", ", ".join(sorted(m.name for m in models)) or "nothing")
        self.ready = ready
        self._seen |= {name: model.name for name, model in ready.items()}
        self.known |= {model.name: model for model in models}
        self._learn_patterns(models)

    def _learn_patterns(self, models: Sequence[Model]) -> None:
        """Those of the operator's mapping beat those of models. A pattern of a model that is not
        loaded any more still leads to it."""
        ready = {model.name for model in models}
        gone = {p: name for p, name in self._seen_patterns.items() if name not in ready}
        own = {pattern: model.name for model in models for pattern in model.patterns}
        self._seen_patterns = gone | own
        mapped = {pattern: self._mapped(name) for pattern, name in self.mapping.items()}
        self._patterns = Patterns(self._seen_patterns | mapped)
