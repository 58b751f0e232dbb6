"""Whole plans: on CPUs and GPUs, for what fits and what does not, and every advice tried out."""

import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support.checkpoint import save_checkpoint
from tests.support.machines import GIB, H100, FakeMachine, nvidia
from tests.support.processes import ROOT
from tests.toolkit.fit import configs
from toolkit.cli import app
from toolkit.errors import BuildError, UsageError
from toolkit.fit import parse_gpus, parse_size

runner = CliRunner()


def save_model(folder: Path, name: str, config: dict[str, Any]) -> str:
    (folder / name).mkdir()
    (folder / name / "config.json").write_text(json.dumps(config))
    return f"path:{name}"


def save_spec(folder: Path, **models: dict[str, Any]) -> Path:
    """Language models of which only config.json is here; `context_length` and `engine` as given."""
    entries = ""
    for name, given in models.items():
        config = dict(given)
        context = config.pop("context_length", 8192)
        engine = json.dumps(config.pop("engine", {}))
        source = save_model(folder, name, config)
        entries += f"  {name}:\n    kind: llm\n    source: {source}\n"
        entries += f"    context_length: {context}\n    engine_args: {engine}\n"
    (folder / "models.yaml").write_text(f"version: 1\nmodels:\n{entries}")
    return folder / "models.yaml"


def plan(spec: Path, *options: str, machine: FakeMachine | None = None) -> dict[str, Any]:
    ran = runner.invoke(app, ["fit", str(spec), "--json", *options], obj=machine or FakeMachine())
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    result: dict[str, Any] = json.loads(ran.stdout)
    assert ran.exit_code == (0 if result["fits"] else 1)
    return result


def test_a_model_alone_on_a_gpu_gets_all_of_it(tmp_path: Path) -> None:
    spec = save_spec(tmp_path, chat=configs.LLAMA_8B)
    result = plan(spec, "--gpus", "h100", "--concurrency", "8")
    (model,) = result["models"]
    assert model["weights_bytes"] == pytest.approx(16.06e9, rel=0.01)
    assert model["cache"]["bytes_per_token"] == 131072
    assert model["cache"]["wanted_bytes"] == 8 * 8192 * 131072
    assert model["placement"]["gpus"] == [0]
    assert model["placement"]["gpu_memory_utilization"] == 0.9
    assert model["placement"]["bytes_per_gpu"] == pytest.approx(72 * GIB, abs=1)
    # vLLM has 54 to 57 GiB left for the cache of this model on an 80 GiB device
    assert model["cache"]["bytes"] == pytest.approx(55.5 * GIB, rel=0.03)


def test_gpus_that_are_found_are_planned_for(tmp_path: Path) -> None:
    spec = save_spec(tmp_path, chat=configs.LLAMA_8B)
    machine = FakeMachine(programs=nvidia(H100, H100.replace("0, ", "1, ", 1)))
    result = plan(spec, "--target", "container", machine=machine)
    assert [gpu["name"] for gpu in result["machine"]["gpus"]] == ["NVIDIA H100 80GB HBM3"] * 2
    assert result["models"][0]["placement"]["gpus"] == [0]
    nowhere = plan(spec, "--target", "container")
    assert "there is no GPU for chat" in nowhere["findings"][0]["text"]


def test_models_share_gpus_or_spread_over_them(tmp_path: Path) -> None:
    small = configs.LLAMA_8B | {"context_length": 2048}
    spec = save_spec(tmp_path, one=small, two=small)
    spread = {m["name"]: m["placement"] for m in plan(spec, "--gpus", "h100:2")["models"]}
    assert {tuple(place["gpus"]) for place in spread.values()} == {(0,), (1,)}
    shared = [m["placement"] for m in plan(spec, "--gpus", "h100")["models"]]
    assert {tuple(place["gpus"]) for place in shared} == {(0,)}
    shares = [place["gpu_memory_utilization"] for place in shared]
    assert sum(shares) <= 0.92
    assert all(0.2 < share < 0.3 for share in shares)


def test_large_models_are_split_where_their_heads_divide(tmp_path: Path) -> None:
    spec = save_spec(tmp_path, big=configs.LLAMA_70B)
    (model,) = plan(spec, "--gpus", "h100:8", "--memory", "256GiB")["models"]
    assert model["placement"]["tensor_parallel_size"] == 4
    assert model["placement"]["pipeline_parallel_size"] == 1
    odd = configs.LLAMA_70B | {"num_attention_heads": 7, "num_key_value_heads": 7}
    (tmp_path / "odd").mkdir()
    spec = save_spec(tmp_path / "odd", big=odd | {"head_dim": 1170, "context_length": 1024})
    (model,) = plan(spec, "--gpus", "h100:4", "--memory", "256GiB", "--concurrency", "1")["models"]
    assert model["placement"]["tensor_parallel_size"] == 1
    assert model["placement"]["pipeline_parallel_size"] == 3


def test_what_the_engine_is_told_is_kept_to(tmp_path: Path) -> None:
    asked = {"tensor_parallel_size": 2, "gpu_memory_utilization": 0.5, "max_num_seqs": 3}
    spec = save_spec(tmp_path, chat=configs.LLAMA_8B | {"engine": asked})
    (model,) = plan(spec, "--gpus", "h100:4")["models"]
    assert model["concurrency"] == 3
    assert model["placement"]["gpus"] == [0, 1]
    assert model["placement"]["gpu_memory_utilization"] == 0.5


def test_advice_has_been_tried_and_holds(tmp_path: Path) -> None:
    spec = save_spec(tmp_path, chat=configs.LLAMA_8B | {"context_length": 32768})
    (model,) = plan(spec, "--gpus", "24GiB")["models"]
    assert not model["fits"]
    assert "needs 80.2" in model["findings"][0]["text"]
    advice = "\n".join(model["advice"])
    context = re.search(r"context_length: (\d+)", advice)
    more = re.search(
        r"(\d+) more GPUs? with 24GiB, with engine_args: {tensor_parallel_size: (\d)", advice
    )
    assert context
    assert more
    shorter = spec.with_name("shorter.yaml")
    shorter.write_text(spec.read_text().replace("32768", context[1]))
    assert plan(shorter, "--gpus", "24GiB")["fits"]
    shorter.write_text(spec.read_text().replace("32768", str(int(context[1]) + 256)))
    assert not plan(shorter, "--gpus", "24GiB")["fits"]
    larger = plan(spec, "--gpus", f"24GiB:{1 + int(more[1])}")
    assert larger["fits"]
    assert larger["models"][0]["placement"]["tensor_parallel_size"] == int(more[2])
    assert not plan(spec, "--gpus", f"24GiB:{int(more[1])}")["fits"]


def test_quantizing_is_advised_where_it_is_enough(tmp_path: Path) -> None:
    spec = save_spec(tmp_path, chat=configs.LLAMA_8B)
    (model,) = plan(spec, "--gpus", "20GiB", "--concurrency", "4")["models"]
    assert model["advice"][0] == "engine_args: {quantization: fp8}"
    quantized = save_spec_quantized(tmp_path)
    assert plan(quantized, "--gpus", "20GiB", "--concurrency", "4")["fits"]


def test_weights_that_a_build_quantizes_are_planned_small(tmp_path: Path) -> None:
    spec = save_spec(tmp_path, chat=configs.LLAMA_8B)
    (whole,) = plan(spec, "--gpus", "h100")["models"]
    spec.write_text(
        spec.read_text().replace("    kind: llm\n", "    kind: llm\n    quantization: int4\n")
    )
    (small,) = plan(spec, "--gpus", "h100")["models"]
    assert small["weights_bytes"] < 0.45 * whole["weights_bytes"]


def save_spec_quantized(folder: Path) -> Path:
    (folder / "fp8").mkdir()
    return save_spec(folder / "fp8", chat=configs.LLAMA_8B | {"engine": {"quantization": "fp8"}})


def test_headers_of_weights_count_more_than_config(tmp_path: Path) -> None:
    spec = save_spec(tmp_path, chat=configs.LLAMA_8B)
    tensors = {"a": ("BF16", [1000, 1000]), "b": ("I32", [10]), "c": ("F8_E4M3", [500])}
    header = {
        name: {"dtype": dtype, "shape": shape, "data_offsets": [0, 0]}
        for name, (dtype, shape) in tensors.items()
    }
    text = json.dumps(header | {"__metadata__": {"format": "pt"}}).encode()
    file = tmp_path / "chat" / "model.safetensors"
    file.write_bytes(struct.pack("<Q", len(text)) + text)
    (model,) = plan(spec, "--gpus", "h100")["models"]
    assert model["weights_bytes"] == 2 * 1000 * 1000 + 40 + 500
    (on_cpu,) = plan(spec, machine=FakeMachine(files={"/proc/cpuinfo": "flags: avx2\n"}))["models"]
    assert on_cpu["weights_bytes"] == 4 * 1000 * 1000 + 40 + 500  # float32 without AVX-512
    file.write_bytes(b"nonsense")
    result = runner.invoke(app, ["fit", str(spec)], obj=FakeMachine())
    assert isinstance(result.exception, BuildError)
    assert "models.chat.source: " in result.exception.message
    assert "is not a safetensors file" in result.exception.message


def test_a_cpu_that_has_too_little_memory(tmp_path: Path) -> None:
    spec = save_spec(tmp_path, chat=configs.LLAMA_8B | {"context_length": 2048})
    assert plan(spec, "--memory", "48GiB")["fits"]
    result = plan(spec, "--memory", "16GiB")
    assert "of host memory, and 16.00 GiB are available" in result["findings"][0]["text"]
    enough = re.search(r"--memory (\w+)", result["findings"][0]["fix"])
    assert enough
    assert plan(spec, "--memory", enough[1])["fits"]
    assert result["models"][0]["advice"][-1].startswith("GPUs: ")
    small_cache = plan(spec, "--memory", "64GiB", "--concurrency", "64")["models"][0]
    assert "not 64" in small_cache["findings"][0]["text"]
    assert small_cache["advice"][0].startswith(
        "engine_args: {max_num_seqs: 64, kv_cache_memory_bytes:"
    )


def test_shared_memory_and_threads_are_looked_at(tmp_path: Path) -> None:
    spec = save_spec(tmp_path, chat=configs.GPT2 | {"context_length": 512})
    machine = FakeMachine(disks={"/dev/shm": (GIB // 16, GIB // 16)}, count=1)
    result = plan(spec, machine=machine)
    assert "--shm-size" in result["findings"][0]["fix"]
    two = spec.with_name("two.yaml")
    entry = spec.read_text().partition("models:\n")[2]
    two.write_text(spec.read_text() + entry.replace("  chat:", "  other:"))
    notes = [each for each in plan(two, machine=machine)["findings"] if each["code"] == "threads"]
    assert "2 compute threads share 1 processors" in notes[0]["text"]
    assert notes[0]["severity"] == "warning"


def test_everything_that_cannot_be_read_is_told_at_once(tmp_path: Path) -> None:
    spec = save_spec(tmp_path, one={"model_type": "x"}, two=configs.LLAMA_8B, three={})
    result = runner.invoke(app, ["fit", str(spec)], obj=FakeMachine())
    assert isinstance(result.exception, BuildError)
    assert result.exception.exit_code == 1
    what = "does not contain hidden_size, which determines its size"
    findings = result.exception.findings
    lines = spec.read_text().splitlines()
    assert [(each.text, lines[each.place.line - 1].split()[0]) for each in findings] == [
        (f"config.json of {name} {what}", "source:") for name in ("one", "three")
    ]


@pytest.mark.usefixtures("own_home")
def test_offline_fetches_nothing(tmp_path: Path, own_home: Path) -> None:
    spec = tmp_path / "models.yaml"
    spec.write_text(
        "version: 1\nmodels:\n  a:\n    kind: embedding\n    source: package:none-such==1/a.zip\n"
    )
    result = runner.invoke(app, ["fit", str(spec), "--offline"], obj=FakeMachine())
    assert isinstance(result.exception, BuildError)
    (finding,) = result.exception.findings
    assert (finding.place.line, finding.fix) == (5, "toolkit pull")
    assert not own_home.exists()


def test_gpus_are_described_or_refused() -> None:
    described = parse_gpus("h100:2, 24GiB ,l4:1")
    assert [device.memory_bytes // GIB for device in described] == [80, 80, 24, 22]
    assert [device.index for device in described] == [0, 1, 2, 3]
    assert parse_gpus("none") == []
    for wrong in ("h100:x", "h100:0", "moon", "12", "h100:-1", "h100:99999", ""):
        with pytest.raises(UsageError):
            parse_gpus(wrong)
    assert [parse_size(text) for text in ("64GiB", "1GB", "512 MiB")] == [64 * GIB, 10**9, 2**29]
    for wrong in ("much", "7", "-1GB", "0GiB", "nan"):
        with pytest.raises(UsageError, match="is not a valid size"):
            parse_size(wrong)


def test_people_read_a_table(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "weights")
    spec = save_spec(tmp_path, big=configs.LLAMA_70B)
    result = runner.invoke(app, ["fit", str(spec), "--gpus", "h100"], obj=FakeMachine())
    assert result.exit_code == 1
    said = " ".join(result.stdout.split())
    assert "does not fit: big: needs" in said
    assert "70.6 B parameters, GQA 64:8, 16 bit, context 8192 × 16" in said
    assert "would fit: " in said
    fits = runner.invoke(app, ["fit", str(spec), "--gpus", "h200:2"], obj=FakeMachine())
    assert fits.exit_code == 0
    assert "everything fits" in fits.stdout


def test_python_models_and_ensembles_have_no_weights(tmp_path: Path) -> None:
    guide = (ROOT / "docs/guides/models.md").read_text()
    blocks = re.findall(r"```yaml\n(  hashed:.*?|  tidy:.*?)```", guide, re.DOTALL)
    entries = "".join(blocks).replace("model: minilm-short", "model: hashed")
    assert "kind: python" in entries
    assert "kind: ensemble" in entries
    for name in ("hashed.py", "tidy.py"):
        (tmp_path / name).touch()
    (tmp_path / "models.yaml").write_text(f"version: 1\nmodels:\n{entries}")
    spec = tmp_path / "models.yaml"
    assert plan(spec)["fits"]
    table = runner.invoke(app, ["fit", str(spec)], obj=FakeMachine())
    assert table.exit_code == 0, table.exception
    assert "hashed\t-\t-\t-\t" in table.stdout
