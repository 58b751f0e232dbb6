"""Builds a model repository: combines the plan, the weights and the files on disk."""

from toolkit.building.apply import Built, build
from toolkit.building.early import load_for_build

__all__ = ["Built", "build", "load_for_build"]
