"""Finds what a build would refuse, before anything is downloaded or converted.

It reads models.yaml, sources that are on this disk, and the cache. It changes nothing: what it
writes for the verifier is in a temporary folder. A model whose weights are not known yet has wide
facts, so nothing is refused here that a build would accept.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from toolkit import kinds
from toolkit.building.declared import finding_of, is_users_own, without_consequences
from toolkit.building.failures import Failures
from toolkit.building.states import State, find_state, with_adapters
from toolkit.building.tree import Ready, write_tree
from toolkit.building.weights import Prepared, check_kind
from toolkit.convert.early import most_tokens
from toolkit.convert.user import copy_user_model
from toolkit.errors import SpecError, ToolkitError
from toolkit.facts import Facts
from toolkit.fields.entry import DeclaredFields
from toolkit.kinds.encoding import check_context
from toolkit.kinds.parts import Model
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
    states = {model.name: _state(spec, plan, model, failures) for model in plan.models}
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
    if not isinstance(entry, SourcedEntry):
        return State(models=make_models(model.name, entry, None, plan.target, plan.entries))
    with failures.of(model.name):
        state = find_state(entry, spec.folder)
        if state.fetched is not None:
            check_kind(entry, plan.target, state.fetched.path)
        facts = state.facts or kinds.of(entry).wide
        facts = with_adapters(entry, facts, spec.folder) if facts is not None else None
        if state.fetched is not None and state.facts is None:
            _check_source(entry, state.fetched.path)
        models = _models(plan, model, state, facts) if facts is not None else ()
        kinds.of(entry).check_weights(entry, state.facts, _loaded(entry, state))
        return replace(state, facts=facts if state.facts is not None else None, models=models)
    return State()


def _models(plan: Plan, model: ModelPlan, state: State, facts: Facts) -> Sequence[Model]:
    digest = state.fetched.digest if state.fetched is not None else _NO_DIGEST
    return make_models(model.name, model.entry, (facts, digest), plan.target, plan.entries)


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
    ready = []
    for model in plan.models:
        known = _ready(plan, model, states[model.name], scratch / model.name)
        ready += [] if known is None else [known]
    if not ready:
        return
    write_tree(plan.target, plan.file, ready, root)
    unknown = {model.name for model in plan.models} - {each.plan.name for each in ready}
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


def _ready(plan: Plan, model: ModelPlan, state: State, place: Path) -> Ready | None:
    """The model without its weights, or with a user's own files, which are copied to `place`; None
    where they are not here."""
    if not isinstance(model.entry, SourcedEntry):
        return Ready(model, state.models, None)
    wide = kinds.of(model.entry).wide
    facts = state.facts or wide
    if wide is None and state.converted is not None:
        place = state.converted  # the verifier reads a user's own files
    elif facts is None and state.fetched is not None:
        # a failure was reported where its source was checked
        with suppress(ToolkitError):
            facts = copy_user_model(state.fetched.path, place, silent)
    if facts is None:
        return None
    models = state.models or _models(plan, model, state, facts)
    return Ready(model, models, Prepared(place, _NO_DIGEST, facts))
