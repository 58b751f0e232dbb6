"""The rows of the catalogue are complete, and their names work as sources."""

import pytest

from toolkit.catalogue import Available, catalogue, find_available, suggest
from toolkit.fields.entry import NAME
from toolkit.fields.source import HubSource, parse_source
from toolkit.fit.available import Room, Verdict, judge, served_context
from toolkit.fit.devices import parse_gpus
from toolkit.kinds import all_kinds
from toolkit.spec import parse

GIB = 2**30


@pytest.mark.parametrize("model", catalogue().values(), ids=list(catalogue()))
def test_a_row_is_complete(model: Available) -> None:
    assert model.kind in all_kinds()
    assert parse_source(model.name) == parse_source(model.source)
    assert 0.4 < model.size_bytes / model.parameters <= 4.1
    assert model.license
    assert model.about
    assert (model.cache is not None) == (model.kind == "llm")
    assert (model.context_length is None) == (model.kind == "diffusion")
    assert judge(model, Room(2**50)).fits != model.gpu_only


def test_there_are_models_of_all_kinds() -> None:
    kinds = [model.kind for model in catalogue().values()]
    assert {kind: kinds.count(kind) > 3 for kind in kinds} == dict.fromkeys(
        ("llm", "embedding", "rerank", "diffusion"), True
    )
    assert len({model.source for model in catalogue().values()}) == len(catalogue())


def test_names_are_names_of_models() -> None:
    lines = [f"  {name}: {{kind: embedding, source: {name}}}\n" for name in catalogue()]
    assert NAME
    parsed = parse("m.yaml", "version: 1\nmodels:\n" + "".join(lines), folder=None)  # type: ignore[arg-type]
    assert set(parsed.models) == set(catalogue())


def test_a_name_is_a_source_in_any_case() -> None:
    assert parse_source("Qwen3-0.6B") == HubSource("Qwen/Qwen3-0.6B", None)
    assert parse_source("qwen3-0.6b", "main") == HubSource("Qwen/Qwen3-0.6B", "main")


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"'qwen3-0.6' is not a source: did you mean qwen3-0.6b"):
        parse_source("qwen3-0.6")
    assert find_available("qwen3-0.6") is None
    assert "list-available" in suggest("x" * 1000)


def judged(name: str, host_gib: int, gpus: str = "none") -> Verdict:
    return judge(catalogue()[name], Room(host_gib * GIB, parse_gpus(gpus)))


def test_what_fits_depends_on_the_machine() -> None:
    assert judged("smollm2-135m-instruct", 16).place == "CPU"
    assert judged("qwen2.5-7b-instruct", 16).place == ""
    assert judged("qwen2.5-7b-instruct", 16, "24GiB").place == "GPU"
    assert judged("llama-3.3-70b-instruct", 64, "h100").place == ""
    assert judged("llama-3.3-70b-instruct", 64, "l40s:7").place == "4 GPUs"
    assert judged("gpt-oss-20b", 64).place == ""
    assert judged("gpt-oss-20b", 64, "24GiB").place == "GPU"
    assert judged("stable-diffusion-v1-5", 4).place == ""


def test_a_served_context_is_bounded() -> None:
    assert served_context("llm", 2048) == 2048
    assert served_context("llm", 131072) == 8192
    assert served_context("embedding", None) == 2048
