"""What a config says about a model, and which models were restarted."""

import pytest
from tritonclient.grpc.model_config_pb2 import ModelConfig

from frontend.upstreams.triton.models import Restarts, read_model


def test_a_config_says_what_a_model_is() -> None:
    config = ModelConfig(name="m", max_batch_size=8)
    for key, value in {
        "toolkit.contract": "1",
        "toolkit.kind": "embedding",
        "toolkit.aliases": '["a", "b"]',
        "toolkit.capabilities": '["embedding"]',
        "toolkit.dimensions": "384",
    }.items():
        config.parameters[key].string_value = value
    served = read_model(config)
    assert served is not None
    model = served.model
    assert (model.kind, model.aliases, model.dimensions) == ("embedding", ("a", "b"), 384)
    assert served.max_batch == 8


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"toolkit.kind": "llm", "toolkit.contract": "2"},
        {"toolkit.kind": "llm", "toolkit.contract": "1", "toolkit.aliases": "[oops"},
        {"toolkit.kind": "diffusion", "toolkit.contract": "1", "toolkit.context_length": "many"},
        {"toolkit.kind": "diffusion", "toolkit.contract": "1", "toolkit.image": '{"width": 1}'},
        {"toolkit.kind": "diffusion", "toolkit.contract": "1", "toolkit.image": "5"},
    ],
)
def test_other_configs_are_no_public_models(parameters: dict[str, str]) -> None:
    config = ModelConfig(name="m")
    for key, value in parameters.items():
        config.parameters[key].string_value = value
    assert read_model(config) is None


def restarts(*loads: str) -> list[list[str]]:
    """The restarts that are seen of a model that was loaded as these, one after the other."""
    seen, found = Restarts(), []
    for loaded_as in loads:
        config = ModelConfig(name="m")
        if loaded_as:
            config.parameters["toolkit.generation"].string_value = loaded_as
        found.append(seen.see([config]))
    return found


def test_a_restart_is_a_new_number_and_nothing_else() -> None:
    # it died and was loaded again; an operator loaded it from disk: what runs is finished first
    assert restarts("", "1", "1", "", "2") == [[], ["m"], [], [], ["m"]]
    assert restarts("1") == [[]], "a gateway that started later knows of no other"
