"""Builds the model repository of a models.yaml: plan, prepare, write, verify, replace.

An existing repository is unchanged until the last step.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from toolkit.atomic import replacing
from toolkit.building.declared import finding_of, is_users_own, without_consequences
from toolkit.building.early import check_early
from toolkit.building.failures import Failures
from toolkit.building.previous import keep_links, refuse_foreign
from toolkit.building.tree import Ready, write_tree
from toolkit.building.weights import Prepared, check_kind, prepare
from toolkit.errors import RepositoryError, SpecError
from toolkit.home import home
from toolkit.progress import Progress, silent
from toolkit.repository.configs import make_models
from toolkit.repository.plan import Plan, make_plan
from toolkit.spec import SourcedEntry, Spec
from toolkit.targets import Target
from toolkit.verifier import Severity, verify_repository
from toolkit.weights.digest import text_digest
from toolkit.weights.fetch import fetch


@dataclass(frozen=True, slots=True)
class Built:
    """The result of `build`: the models written, and where."""

    plan: Plan
    output: Path
    prepared: dict[str, Prepared]


def build(spec: Spec, target: Target, output: Path, progress: Progress = silent) -> Built:
    """Builds the repository of `spec` for `target` at `output`.

    Raises SpecError or BuildError with all errors of the spec or the weights, MissingExtra without
    a library that the build needs, and RepositoryError if `output` cannot be replaced; `output` is
    then unchanged.
    """
    plan = make_plan(spec.for_target(target), target, spec.file)
    # before minutes of downloads and conversions, not after them
    refuse_foreign(output)
    ready = _prepare(spec, plan, progress)
    with _replacing(output) as scratch:
        write_tree(target, spec.file, ready, scratch)
        _verify(spec, scratch, target)
        # after the verifier, which would look into the environments
        keep_links(output, scratch)
    prepared = {each.plan.name: each.weights for each in ready if each.weights is not None}
    return Built(plan, output, prepared)


def _prepare(spec: Spec, plan: Plan, progress: Progress) -> list[Ready]:
    """All models with their weights. Raises BuildError when all have been tried, and MissingExtra
    without a library that is needed."""
    states = check_early(spec, plan)
    failures = Failures(spec)
    ready = []
    for model in plan.models:
        entry, state = model.entry, states[model.name]
        if not isinstance(entry, SourcedEntry):
            ready.append(Ready(model, state.models, None))
            continue
        with failures.of(model.name):
            check = partial(check_kind, entry, plan.target)
            fetched = state.fetched or fetch(entry.origin, spec.folder, progress, check=check)
            check(fetched.path)
            weights = prepare(model.name, entry, spec.folder, progress, fetched)
            models = state.models
            if weights.facts != state.facts:  # they were not known before the weights were made
                known = (weights.facts, weights.digest)
                models = make_models(model.name, entry, known, plan.target, plan.entries)
            ready.append(Ready(model, models, weights))
    failures.refuse()
    return ready


@contextmanager
def _replacing(output: Path) -> Iterator[Path]:
    """Yields an empty folder that becomes `output`. Raises RepositoryError if another build is
    writing it."""
    lock = home() / "locks" / f"{text_digest(str(output.absolute()))[:32]}.lock"
    with ExitStack() as stack:
        try:
            scratch = stack.enter_context(replacing(output, lock))
        except BlockingIOError as error:
            raise RepositoryError(
                f"another build is writing {output}",
                hint="wait until it has ended, then run the command again",
            ) from error
        yield scratch


def _verify(spec: Spec, root: Path, target: Target) -> None:
    """Raises SpecError for errors in what users declared, RepositoryError for any others."""
    errors = [
        finding
        for finding in verify_repository(root, target.name)
        if finding.severity is Severity.ERROR
    ]
    declared = [finding for finding in errors if is_users_own(spec, finding)]
    if declared:
        declared = without_consequences(declared)
        raise SpecError([finding_of(spec, finding) for finding in declared])
    if errors:
        raise RepositoryError(
            "the generated repository is not valid:\n" + "\n".join(map(str, errors)),
            hint="this is a bug in the toolkit; nothing was changed",
        )
