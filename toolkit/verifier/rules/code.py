"""The copies of python_backends in a repository, against each other and this release."""

from collections.abc import Iterator

from toolkit.repository.code import broken_imports, is_outdated
from toolkit.verifier.finding import Effect, ModelFinding
from toolkit.verifier.model import Model
from toolkit.verifier.rule import rule

_REMEDY = "run toolkit build-repo, which copies the code of this release"


@rule("toolkit-code", "Step whose files come from different releases", Effect.REFUSED)
def toolkit_code(model: Model) -> Iterator[ModelFinding]:
    """`model.py` imports a name that the modules in `python_backends` next to it do not define.

    This happens when Git updates `model.py`: it does not track the copied modules.
    `toolkit build-repo` copies both again.
    """
    for folder in model.served_versions.values():
        if sentences := broken_imports(folder):
            more = f", and {len(sentences) - 1} more" if len(sentences) > 1 else ""
            yield model.file_finding(folder, f"'{model.name}': {sentences[0]}{more}", _REMEDY)


@rule("toolkit-release", "Step of another release", Effect.RISK)
def toolkit_release(model: Model) -> Iterator[ModelFinding]:
    """`repository.json` names other code for this step than this release of the toolkit has.

    The model works as that release did, without what was repaired since.
    """
    if is_outdated(model.root, model.name):
        text = f"another release of the toolkit built '{model.name}'"
        yield model.file_finding(model.folder, text, _REMEDY)


RULES = (toolkit_code, toolkit_release)
