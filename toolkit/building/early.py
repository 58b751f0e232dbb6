"""Finds what a build would refuse, before anything is downloaded or converted.

It reads models.yaml, sources that are on this disk, and the cache. It changes nothing: what it
writes for the verifier is in a temporary folder. A model whose weights are not known yet has wide
facts, so nothing is refused here that a build would accept.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from toolkit import kinds
from toolkit.building.declared import finding_of, is_users_own, without_consequences
from toolkit.building.failures import Failures
from toolkit.building.states import State, find_state, with_adapters
from toolkit.building.tree import write_tree
from toolkit.building.weights import Prepared, check_kind
from toolkit.convert.early import most_tokens
from toolkit.convert.user import copy_user_model
from toolkit.errors import SpecError, ToolkitError
from toolkit.facts import Facts
from toolkit.fields.entry import DeclaredFields
from toolkit.kinds.encoding import check_context
from toolkit.progress import silent
from toolkit.repository.configs import make_models
from toolkit.repository.plan import ModelPlan, Plan, make_plan
from toolkit.spec import InvalidSpec, SourcedEntry, Spec, load
from toolkit.targets import Target
from toolkit.verifier import Severity, verify_repository

_NO_DIGEST = f"sha256:{'0' * 64}"


def check_early(spec: Spec, plan: Plan) -> dict[str, State]:
    """The state of each model's weights. Raises BuildError or SpecError with all findings."""
    failures = Failures(spec)
    states = {
        model.name: _state(spec, plan, model, failures)
        for model in plan.models
        if isinstance(model.entry, SourcedEntry)
    }
    if any(isinstance(model.entry, DeclaredFields) for model in plan.models):
        with failures.all(), TemporaryDirectory(prefix="triton-toolkit-") as scratch:
            _check_tensors(spec, plan, states, Path(scratch))
    failures.refuse()
    return states


def load_for_build(path: Path, target: Target) -> Spec:
    """Reads a models.yaml. Raises SpecError with all errors, also those of the weights of entries
    that are valid."""
    try:
        return load(path, target)
    except InvalidSpec as error:
        raise _with_weights(error, target) from error


def _with_weights(error: InvalidSpec, target: Target) -> SpecError:
    """The same error, with what a build would refuse in the other entries."""
    spec, valid, failures = error.read, {*error.valid}, Failures(error.read)
    failures.add(error)
    try:
        # with all entries: one may name another
        plan = make_plan(spec.models, target, spec.file)
        for model in plan.models:
            if model.name in valid and isinstance(model.entry, SourcedEntry):
                _state(spec, plan, model, failures)
        failures.refuse()
    except SpecError as all_errors:
        # with the exit code of an invalid file, whatever else is wrong
        return SpecError(all_errors.findings)
    except ToolkitError:  # what is left of an entry with errors may not be enough
        pass
    return error


def _state(spec: Spec, plan: Plan, model: ModelPlan, failures: Failures) -> State:
    """The state of a model's weights; an empty one if they do not fit their entry."""
    entry = model.entry
    assert isinstance(entry, SourcedEntry)
    with failures.of(model.name):
        state = find_state(entry, spec.folder)
        if state.fetched is not None:
            check_kind(entry, plan.target, state.fetched.path)
        facts = state.facts or kinds.of(entry).wide
        facts = with_adapters(entry, facts, spec.folder) if facts is not None else None
        if state.fetched is not None and state.facts is None:
            _check_source(entry, state.fetched.path)
        if facts is not None:
            # only for its errors; the digest does not matter for them
            make_models(model.name, entry, (facts, _NO_DIGEST), plan.target, plan.entries)
        kinds.of(entry).check_weights(entry, state.facts, _loaded(entry, state))
        return replace(state, facts=facts if state.facts is not None else None)
    return State()


def _loaded(entry: SourcedEntry, state: State) -> Path | None:
    """The folder of weights that is loaded, or one that says the same of them; None if neither is
    here."""
    kind = kinds.of(entry)
    is_quantized = kind.quantization(entry) is not None
    made = state.quantized if is_quantized else state.converted
    if made is not None:
        return made / kind.loaded if kind.loaded else None
    return state.fetched.path if state.fetched is not None and not is_quantized else None


def _check_source(entry: SourcedEntry, source: Path) -> None:
    """Raises ConvertError for a source that the conversion cannot read, or that knows fewer tokens
    than the entry asks for."""
    most = most_tokens(kinds.of(entry).conversion(source), source)
    asked = getattr(entry, "context_length", None)
    if most is not None and asked is not None:
        check_context(asked, most)


def _check_tensors(spec: Spec, plan: Plan, states: Mapping[str, State], scratch: Path) -> None:
    """Raises SpecError for what the verifier finds in models that users declared."""
    root = scratch / "repository"
    root.mkdir()
    prepared = {}
    for name, state in states.items():
        if (facts := _facts(plan, name, state, scratch / name)) is not None:
            prepared[name] = Prepared(scratch / name, _NO_DIGEST, facts)
    models = [each for each in plan.models if each.name in {*prepared} or each.name not in states]
    if not models:
        return
    write_tree(replace(plan, models=tuple(models)), prepared, root)
    unknown = {*states} - {*prepared}
    found = [
        finding
        for finding in verify_repository(root, plan.target.name)
        if finding.severity is Severity.ERROR
        and is_users_own(spec, finding)
        # models that are not here yet are missing from the folder, which is not the user's fault
        and not any(f"'{name}" in finding.text for name in unknown)
    ]
    if found:
        raise SpecError([finding_of(spec, each) for each in without_consequences(found)])


def _facts(plan: Plan, name: str, state: State, place: Path) -> Facts | None:
    """Those of the weights, or wide ones; None for a user's model that is not here."""
    entry = plan.entries[name]
    if (wide := kinds.of(entry).wide) is not None:
        return state.facts or wide
    if state.fetched is None:
        return None
    try:
        return copy_user_model(state.fetched.path, place, silent)
    except ToolkitError:  # reported where its source was checked
        return None
