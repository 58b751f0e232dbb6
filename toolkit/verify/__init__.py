"""Offline check of a model repository: what a Triton release would refuse, fail on, or get wrong.

`verify_repository` reads files only; it starts no server and changes nothing. The rules are in
`rules/`, the table of them in `table`.
"""

from toolkit.verify.problem import Effect, Place, Problem, Severity
from toolkit.verify.repository import guess_target, verify_repository

__all__ = ["Effect", "Place", "Problem", "Severity", "guess_target", "verify_repository"]
