"""Which steps a health probe asks, and with which requests; no server."""

import json

from google.protobuf import text_format

from toolkit.model_config import ModelConfig
from toolkit.serve.models import ServedModel
from toolkit.serve.probe import Probe, probes

TEXT = "{ data_type: TYPE_STRING dims: 1 name: "


def config(name: str, inputs: str = "", *, kind: str = "", steps: str = "", more: str = "") -> str:
    text = f'name: "{name}" '
    text += "".join(f'input {TEXT} "{each}" }} ' for each in inputs.split())
    if kind:
        text += f'parameters {{ key: "toolkit.kind" value {{ string_value: "{kind}" }} }} '
    scheduling = "".join(f'step {{ model_name: "{each}" }} ' for each in steps.split())
    return text + (f"ensemble_scheduling {{ {scheduling} }} " if steps else "") + more


def asked(*texts: str) -> list[Probe]:
    """The probes of the first model, when all these are loaded."""
    configs = [text_format.Parse(text, ModelConfig()) for text in texts]
    model = ServedModel(configs[0].name, configs[0])
    return list(probes([model], {each.name: each for each in configs}))


def test_a_language_model_is_asked_to_read_a_prompt_and_to_cancel_nothing() -> None:
    cancel = 'parameters { key: "toolkit.cancel" value { string_value: "m.engine" } }'
    first, engine = asked(
        config("m", "prompt", kind="llm", steps="m.prompt m.engine", more=cancel),
        config("m.prompt", "prompt"),
        config("m.engine"),
    )
    assert (first.step, engine.step) == ("m.prompt", "m.engine")
    prompt = json.loads(first.make().raw_input_contents[0][4:])["text"]
    number, text = prompt.split(" ", 1)
    assert number.isdecimal()
    assert text == "The capital of France is"
    assert [each.name for each in engine.make().inputs] == ["cancel"]
    assert (first.decoupled, engine.decoupled) == (False, True)


def test_a_language_model_without_a_way_to_cancel_is_not_asked() -> None:
    assert asked(config("m", "prompt sampling_parameters", kind="llm")) == []


def test_every_step_of_a_batched_model_is_asked_once_its_inputs_are_texts_or_ids() -> None:
    ids = 'input { name: "input_ids" data_type: TYPE_INT64 dims: -1 } max_batch_size: 4'
    floats = 'input { name: "x" data_type: TYPE_FP32 dims: 1 }'
    found = asked(
        config("m", "text", kind="embedding", steps="m.tokenize m.encoder m.scale"),
        config("m.tokenize", "text"),
        config("m.encoder", more=ids),
        config("m.scale", more=floats),
    )
    assert [probe.step for probe in found] == ["m.tokenize", "m.encoder"]
    assert list(found[1].make().inputs[0].shape) == [1, 8]


def test_a_model_without_steps_is_asked_itself_only_where_a_row_is_cheap() -> None:
    assert [each.step for each in asked(config("m", "query document", kind="rerank"))] == ["m"]
    assert asked(config("m", "prompt", kind="diffusion")) == []


def test_only_the_first_step_of_a_diffusion_model_is_asked() -> None:
    found = asked(
        config("m", "prompt", kind="diffusion", steps="read draw"),
        config("read", "prompt"),
        config("draw", "plan"),
    )
    assert [each.step for each in found] == ["read"]


def test_models_without_a_contract_are_not_asked() -> None:
    assert asked(config("m", "text")) == []
