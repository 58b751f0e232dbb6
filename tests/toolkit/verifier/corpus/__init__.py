"""Small repositories, whole and broken, each with what the real server does with it.

`dsl` writes them compactly, the other modules hold them by subject, `all_cases` gathers them.
"""

from tests.toolkit.verifier.corpus import (
    batching,
    ensembles,
    files,
    flow,
    instances,
    maps,
    python,
    syntax,
    tensors,
)
from tests.toolkit.verifier.corpus.dsl import Case


def all_cases() -> list[Case]:
    """Every case, by name; a name stands once."""
    modules = (syntax, tensors, batching, instances, files, python, ensembles, flow, maps)
    cases = [case for module in modules for case in module.CASES]
    assert len({case.name for case in cases}) == len(cases)
    return cases
