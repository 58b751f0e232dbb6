"""Decoupled steps: joining their responses, the order of responses, caching."""

from collections.abc import Iterator

from toolkit.verifier.ensemble import Ensemble, Step, instances, is_decoupled
from toolkit.verifier.finding import Effect, ModelFinding
from toolkit.verifier.model import Model
from toolkit.verifier.rule import rule
from toolkit.verifier.rules.ensembles import graph


@rule("ensemble-decoupled-join", "Join of different numbers of responses", Effect.REFUSED)
def decoupled_join(model: Model) -> Iterator[ModelFinding]:
    """All inputs of a step, and all ensemble outputs, must depend on the same decoupled step.

    A decoupled step returns any number of responses. They cannot be joined with those of another
    decoupled step, with a tensor of the request, or with a tensor of an earlier step. Pass such a
    tensor through the decoupled step as an additional output.
    """
    if (ensemble := graph(model)) is None:
        return
    labels = ensemble.labels
    for step in ensemble.steps:
        tensors = {name: labels[name] for name in step.config.input_map.values() if name in labels}
        if len(set(tensors.values())) > 1:
            yield _join(model, step.path, f"'{step.config.model_name}' joins", ensemble, tensors)
    outputs = {name: labels[name] for name in ensemble.outputs if name in labels}
    # ensemble outputs are sent together, so they are joined as the inputs of a step are
    if len(set(outputs.values())) > 1:
        yield _join(model, "output", "the ensemble returns", ensemble, outputs)


def _join(
    model: Model, path: str, who: str, ensemble: Ensemble, labels: dict[str, int]
) -> ModelFinding:
    parts = [f"'{name}' ({_origin(ensemble, name, label)})" for name, label in labels.items()]
    return model.finding(
        path,
        f"{who} {' and '.join(parts)}, which arrive in different numbers",
        "pass the other tensor through the decoupled step as an additional output",
    )


def _origin(ensemble: Ensemble, name: str, label: int) -> str:
    if name in ensemble.inputs:
        return "once, from the request"
    if label == 0:
        return "once for each request"
    writers: list[Step] = ensemble.writers[name]
    return f"many times, from or after the decoupled step {writers[0].config.model_name}"


@rule("ensemble-decoupled", "Undeclared or wrong transaction policy of an ensemble", Effect.RISK)
def decoupled_declared(model: Model) -> Iterator[ModelFinding]:
    """An ensemble with a decoupled step is decoupled, regardless of its own config.

    The server refuses unary calls (HTTP `infer`, gRPC `ModelInfer`) to it; clients must stream.
    Declare this in the config for its readers.
    """
    if graph(model) is None:
        return
    declared, actual = model.config.model_transaction_policy.decoupled, is_decoupled(model)
    if actual and not declared:
        yield model.finding(
            "model_transaction_policy",
            "the ensemble has a decoupled step, but its config does not declare it as decoupled",
            "write model_transaction_policy { decoupled: true }",
            "{target} makes the ensemble decoupled: it refuses unary calls, clients must stream",
        )
    # a step that is missing may be the decoupled one
    elif declared and not actual and all(step.model for step in Ensemble(model).steps):
        yield model.finding(
            "model_transaction_policy.decoupled",
            "the ensemble is declared as decoupled, but none of its steps is",
            "remove it, or make the step decoupled",
            "{target} ignores this and returns one response for each request",
        )


@rule("ensemble-order", "Responses that may arrive out of order", Effect.RISK)
def order(model: Model) -> Iterator[ModelFinding]:
    """A step with several instances after a decoupled step may return responses out of order.

    Each response of the stream goes to the next free instance.
    """
    if (ensemble := graph(model)) is None:
        return
    for step in ensemble.steps:
        label = {ensemble.labels.get(name, 0) for name in step.config.input_map.values()}
        if step.model is None or label == {0} or is_decoupled(step.model):
            continue
        if (count := instances(step.model)) > 1:
            yield model.finding(
                f"{step.path}.model_name",
                f"'{step.model.name}' follows a decoupled step and has {count} instances",
                f"write instance_group {{ count: 1 }} in {step.model.name}",
                "{target} loads the ensemble; parts of a stream may arrive out of order",
            )


@rule("ensemble-cache", "Response cache of a decoupled ensemble", Effect.REFUSED)
def cached_stream(model: Model) -> Iterator[ModelFinding]:
    """An ensemble with a decoupled step is decoupled and cannot use the response cache."""
    config = model.config
    declared = config.model_transaction_policy.decoupled
    # declared ones are `cache`'s
    if config.response_cache.enable and graph(model) and not declared and is_decoupled(model):
        text = "the ensemble has a decoupled step, so it cannot use the response cache"
        yield model.finding("response_cache.enable", text, "remove response_cache")


RULES = (decoupled_join, decoupled_declared, order, cached_stream)
