"""Makes the models and configs of an entry of models.yaml, from its facts and the target.

It does not read files. `toolkit.kinds` describes each kind; the public model comes first and
carries the `toolkit.*` parameters from which the gateway learns everything.
"""

import json
from collections.abc import Mapping
from hashlib import sha256

from toolkit import contract, kinds
from toolkit.facts import Facts
from toolkit.fields.entry import BaseEntry, SourcedEntry
from toolkit.kinds.kind import Building
from toolkit.kinds.parts import Model
from toolkit.model_config import ModelConfig
from toolkit.repository.parts import model_config
from toolkit.targets import Target


def make_models(
    name: str,
    entry: BaseEntry,
    known: tuple[Facts, str] | None,
    target: Target,
    others: Mapping[str, BaseEntry] | None = None,
) -> list[Model]:
    """The model `name` and its steps. `known` are facts and digest (`sha256:…`) of its weights,
    None for a kind without; `others` are all entries by name.

    Raises ConvertError when the entry asks for more than the weights can do.
    """
    facts, digest = known or (None, _entry_digest(entry))
    source = str(entry.origin) if isinstance(entry, SourcedEntry) else "models.yaml"
    building = Building(name, _public(entry, source, digest), target, others or {})
    return kinds.of(entry).models(entry, facts, building)


def model_configs(
    name: str, entry: BaseEntry, facts: Facts, digest: str, target: Target
) -> list[ModelConfig]:
    """The configs of the model `name` and of its steps. Raises ConvertError if the weights do not
    suit the entry."""
    models = make_models(name, entry, (facts, digest), target)
    return [model_config(model, target) for model in models]


def _public(entry: BaseEntry, source: str, digest: str) -> dict[str, object]:
    """The parameters of every public model."""
    parameters: dict[str, object] = {
        contract.CONTRACT: contract.VERSION,
        contract.ALIASES: list(entry.aliases),
        contract.SOURCE: source,
        contract.DIGEST: digest,
        contract.OWNED_BY: entry.owned_by,
    }
    if entry.keep_alive is not None:
        # 300, not 300.0, so that equal durations give equal bytes
        parameters[contract.KEEP_ALIVE] = f"{entry.keep_alive:.15g}"
    if entry.created is not None:
        parameters[contract.CREATED] = entry.created
    return parameters


def _entry_digest(entry: BaseEntry) -> str:
    """The digest of a model without weights: of its entry."""
    # sorted: the order of fields in models.yaml does not change what is served
    text = json.dumps(entry.model_dump(mode="json"), sort_keys=True)
    return f"sha256:{sha256(text.encode()).hexdigest()}"
