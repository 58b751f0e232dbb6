"""The models of a built repository, placed on GPUs."""

from pathlib import Path

import pytest

from toolkit.building import Built
from toolkit.errors import RepositoryError
from toolkit.fit.devices import Device, parse_gpus
from toolkit.fit.served import place_repository

ENGINE = "smollm2-135m-instruct.engine"
GRAPHS = {"all-minilm-l6-v2.encoder", "emoji.text_encoder", "emoji.denoise", "emoji.decode"}


def test_every_step_that_computes_gets_a_gpu(default_repository: Built) -> None:
    placed = place_repository(default_repository.output, parse_gpus("h100:1"))
    assert placed.keys() == GRAPHS | {ENGINE}
    assert all(place["gpus"] == [0] for place in placed.values())
    assert placed[ENGINE]["engine"] == {"gpu_memory_utilization": 0.9}


def test_graphs_leave_the_engine_what_is_free(default_repository: Built) -> None:
    (device,) = parse_gpus("24GiB:1")
    busy = Device(3, device.name, device.memory_bytes, device.memory_bytes // 2)
    placed = place_repository(default_repository.output, [busy])
    assert all(place["gpus"] == [3] for place in placed.values())
    assert 0.1 < placed[ENGINE]["engine"]["gpu_memory_utilization"] < 0.5


def test_models_spread_over_gpus(default_repository: Built) -> None:
    placed = place_repository(default_repository.output, parse_gpus("8GiB:4"))
    used = [place["gpus"][0] for name, place in placed.items() if name != ENGINE]
    assert len(set(used)) == 4


def test_what_does_not_fit_is_refused_with_its_need(
    default_repository: Built, tmp_path: Path
) -> None:
    with pytest.raises(RepositoryError, match=rf"{ENGINE} \(\d+\.\d GiB\)") as refused:
        place_repository(default_repository.output, parse_gpus("2GiB:1"))
    assert "--device cpu" in (refused.value.hint or "")
