"""Metrics as their text says them."""

from prometheus_client.parser import text_string_to_metric_families

Labels = dict[str, str]
Samples = dict[str, list[tuple[Labels, float]]]


def samples_of(text: str) -> Samples:
    """All samples by name. Fails for a text that is not valid."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def value_of(text: str | Samples, name: str, **labels: str) -> float:
    """The sum of the samples that have these labels, of a text or of what was read from it."""
    found = samples_of(text) if isinstance(text, str) else text
    return sum(amount for having, amount in found.get(name, []) if labels.items() <= having.items())
