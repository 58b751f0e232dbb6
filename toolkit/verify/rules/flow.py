"""Decoupled steps: what may be joined behind them, in which order answers come, what is cached."""

from collections.abc import Iterator

from toolkit.verify.ensemble import Ensemble, Step, instances, is_decoupled
from toolkit.verify.model import Hit, Model
from toolkit.verify.problem import Effect
from toolkit.verify.rule import rule
from toolkit.verify.rules.ensembles import graph


@rule("ensemble-decoupled-join", "Join of different numbers of answers", Effect.REFUSED)
def decoupled_join(model: Model) -> Iterator[Hit]:
    """What a step, or the ensemble's outputs, join must come from one and the same decoupled step.

    A decoupled step answers any number of times. Its answers can be joined neither with another
    one's nor with a tensor of the request or of a step before it. Pass such a tensor through the
    decoupled step, as one more output of it.
    """
    if (ensemble := graph(model)) is None:
        return
    labels = ensemble.labels
    for step in ensemble.steps:
        tensors = {name: labels[name] for name in step.config.input_map.values() if name in labels}
        if len(set(tensors.values())) > 1:
            yield _join(model, step.path, f"'{step.config.model_name}' joins", ensemble, tensors)
    outputs = {name: labels[name] for name in ensemble.outputs if name in labels}
    if len(set(outputs.values())) > 1:
        yield _join(model, "output", "the ensemble returns", ensemble, outputs)


def _join(model: Model, path: str, who: str, ensemble: Ensemble, labels: dict[str, int]) -> Hit:
    parts = [f"'{name}' ({_origin(ensemble, name, label)})" for name, label in labels.items()]
    return model.hit(
        path,
        f"{who} {' and '.join(parts)}, which do not come in equal numbers",
        "let the decoupled step take the other tensor in and give it out again",
    )


def _origin(ensemble: Ensemble, name: str, label: int) -> str:
    if name in ensemble.inputs:
        return "once, from the request"
    if label == 0:
        return "once for each request"
    writers: list[Step] = ensemble.writers[name]
    return f"many, from or after a decoupled step: {writers[0].config.model_name}"


@rule("ensemble-decoupled", "Ensemble that does not say how often it answers", Effect.RISK)
def decoupled_declared(model: Model) -> Iterator[Hit]:
    """An ensemble with a decoupled step is decoupled, whatever its own config says.

    Unary calls (HTTP `infer`, gRPC `ModelInfer`) of it are refused, clients must stream. Say so in
    the config, for those who read it.
    """
    if graph(model) is None:
        return
    said, meant = model.config.model_transaction_policy.decoupled, is_decoupled(model)
    if meant and not said:
        yield model.hit(
            "model_transaction_policy",
            "a step is decoupled, so the ensemble is, and its config does not say so",
            "write model_transaction_policy { decoupled: true }",
            "{target} makes the ensemble decoupled: clients must stream, unary calls are refused",
        )
    elif said and not meant and all(step.model for step in Ensemble(model).steps):
        yield model.hit(
            "model_transaction_policy.decoupled",
            "the ensemble says it is decoupled, and none of its steps is",
            "remove it, or make the step decoupled",
            "{target} ignores this: there is one answer for each request",
        )


@rule("ensemble-order", "Answers that may overtake each other", Effect.RISK)
def order(model: Model) -> Iterator[Hit]:
    """A step behind a decoupled one with more than one instance may return answers out of order.

    Each answer of the stream goes to whichever instance is free.
    """
    if (ensemble := graph(model)) is None:
        return
    for step in ensemble.steps:
        label = {ensemble.labels.get(name, 0) for name in step.config.input_map.values()}
        if step.model is None or label == {0} or is_decoupled(step.model):
            continue
        if (count := instances(step.model)) > 1:
            yield model.hit(
                f"{step.path}.model_name",
                f"'{step.model.name}' follows a decoupled step and has {count} instances",
                f"write instance_group {{ count: 1 }} in {step.model.name}",
                "{target} loads the ensemble; parts of a stream may come out of order",
            )


@rule("ensemble-cache", "Cache of an ensemble that streams", Effect.REFUSED)
def cached_stream(model: Model) -> Iterator[Hit]:
    """A response cache on an ensemble with a decoupled step, which makes it decoupled."""
    config = model.config
    declared = config.model_transaction_policy.decoupled
    if config.response_cache.enable and graph(model) and not declared and is_decoupled(model):
        text = "a step is decoupled, so the ensemble is, and may have no response cache"
        yield model.hit("response_cache.enable", text, "remove response_cache")


RULES = (decoupled_join, decoupled_declared, order, cached_stream)
