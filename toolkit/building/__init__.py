"""Building a model repository: the one place where plan, weights and disk come together."""

from toolkit.building.apply import Built, build

__all__ = ["Built", "build"]
