"""Offline check of a model repository: what a Triton release refuses, fails on, or gets wrong.

`verify_repository` only reads files. The rules are in `rules/`, and `table` lists them.
"""

from toolkit.finding import Place, Severity
from toolkit.verifier.finding import Effect, ModelFinding
from toolkit.verifier.repository import guess_target, verify_repository

__all__ = ["Effect", "ModelFinding", "Place", "Severity", "guess_target", "verify_repository"]
