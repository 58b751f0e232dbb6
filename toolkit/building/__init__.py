"""Builds a model repository: combines the plan, the weights and the files on disk."""

from toolkit.building.apply import Built, build

__all__ = ["Built", "build"]
