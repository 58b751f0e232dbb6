"""`toolkit quantize` on a tiny language model: each method for real, but without the engine."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from tests.support.checkpoint import tree
from tests.support.processes import alive, wait_for
from tests.support.tiny_language import save_tiny_language
from toolkit.convert.quiet import quiet
from toolkit.errors import ConvertError, QualityError, QuantizeError
from toolkit.progress import Progress, Step, silent
from toolkit.quantize import language
from toolkit.quantize.autoawq import repack
from toolkit.quantize.job import Judging, Options, prepare
from toolkit.quantize.language import quantize_language
from toolkit.quantize.limits import Limits
from toolkit.quantize.packing import pack, unpack
from toolkit.quantize.run import place_result
from toolkit.weights.digest import digest
from toolkit.weights.sources import Fetched

JUDGING = Judging(Limits(max_ppl_ratio=50, max_kl=20), passages=2, engine=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def _own_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for the module: what one test quantized the next need not."""
    monkeypatch.setenv("TRITON_TOOLKIT_HOME", str(home))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with quiet():
        return save_tiny_language(tmp_path_factory.mktemp("llama") / "tiny")


def quantized(
    source: Path,
    output: Path,
    method: str,
    judging: Judging = JUDGING,
    progress: Progress = silent,
    **options: Any,
) -> dict[str, Any]:
    fetched = Fetched(source, digest(source))
    settings = chosen(method, **options)
    return place_result(
        output, lambda place: quantize_language(fetched, settings, judging, place, progress)
    )


class Shares:
    """What is done of `quantize`, as a share of its total, after each message about it."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    @contextmanager
    def step(
        self, title: str, *, total: float | None = None, unit: str = "steps"
    ) -> Iterator[Step]:
        with silent.step(title, total=total, unit=unit) as step:
            yield Share(self.seen) if title == "quantize" else step


class Share:
    def __init__(self, seen: list[float]) -> None:
        self._seen = seen
        self._done = self._whole = 0.0

    def advance(self, amount: float = 1) -> None:
        self._done += amount
        self._seen.append(self._done / self._whole)

    def total(self, amount: float) -> None:
        self._whole = amount
        self._seen.append(self._done / self._whole)

    def note(self, text: str) -> None: ...


def chosen(method: str, **options: Any) -> Options:
    return Options(method, samples=2, length=64, search=4, device="cpu", **options)


METHODS: dict[str, tuple[int, str, tuple[str, ...], set[str]]] = {
    "awq": (4, "int", (r"re:.*\.(gate|up)_proj",), {"gate_proj", "up_proj"}),
    "gptq": (4, "int", (), set()),
    "int8": (8, "int", (), set()),
    "fp8": (8, "float", ("q_proj", "k_proj", "v_proj"), {"q_proj", "k_proj", "v_proj"}),
    "int4-rtn": (4, "int", ("down_proj",), {"down_proj"}),
}
"""Method → bits, kind of number, `--ignore`, and the layers that this leaves out."""


@pytest.mark.parametrize("method", METHODS)
def test_each_method_quantizes_all_but_what_is_ignored(
    llama: Path, tmp_path: Path, method: str
) -> None:
    bits, kind, ignore, left_out = METHODS[method]
    shares = Shares()
    report = quantized(llama, tmp_path / "out", method, progress=shares, ignore=ignore)
    assert shares.seen == sorted(shares.seen), "a percentage goes back"
    reads_text = method not in {"fp8", "int4-rtn"}
    assert shares.seen[-1:] == ([1] if reads_text else [])
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    about = config["quantization_config"]
    assert about["quant_method"] == "compressed-tensors"
    weights = about["config_groups"]["group_0"]["weights"]
    assert (weights["num_bits"], weights["type"]) == (bits, kind)
    check_report(report, tmp_path / "out")
    check_ignored(report, all_tensors(llama), all_tensors(tmp_path / "out"), left_out)


def check_report(report: dict[str, Any], folder: Path) -> None:
    """The report has every measure, and the folder has it and the tokenizer, for all to read."""
    assert report["perplexity"]["before"] > 1
    assert report["kl_nats"]["mean"] > 0
    assert 0 < report["top1_agreement"] <= 1
    assert len(report["layer_error"]) == 3  # embeddings and two layers
    assert report["layer_error"][0] == 0
    assert report["size_bytes"]["ratio"] < 1
    assert report == json.loads((folder / "quality" / "report.json").read_text())
    assert "picture.svg" in (folder / "quality" / "report.md").read_text()
    assert (folder / "tokenizer.json").exists()
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in folder.iterdir())


def check_ignored(report: dict[str, Any], before: Any, after: Any, left_out: set[str]) -> None:
    """Only the layers of these names are as they were."""
    linear = {name.removesuffix(".weight") for name in before if "_proj." in name}
    kept = {name for name in linear if f"{name}.weight_scale" not in after}
    assert {name.rpartition(".")[2] for name in kept} == left_out
    assert len(kept) == 2 * len(left_out)
    assert set(report["about"]["left_out"]) == {"lm_head", *kept}
    assert report["about"]["quantized_layers"] == len(linear - kept)
    if not report["about"]["method"].startswith(
        "awq"
    ):  # it scales a layer's weight and what the layer reads
        assert all(torch.equal(before[f"{n}.weight"], after[f"{n}.weight"]) for n in kept)


def test_a_model_of_few_positions_is_quantized_and_judged_within_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with quiet():
        source = save_tiny_language(tmp_path / "short", max_position_embeddings=66)
    jobs: list[dict[str, Any]] = []
    run_worker = language.run_worker

    def listening(worker: Any, job: Any, progress: Any) -> Any:
        jobs.append(job)
        return run_worker(worker, job, progress) if worker.module.endswith("worker") else {}

    monkeypatch.setattr(language, "run_worker", listening)
    settings = Options("gptq", samples=2, device="cpu")
    fetched = Fetched(source, digest(source))
    (tmp_path / "out").mkdir()
    with pytest.raises(KeyError, match="rows"):  # of the measuring, which is not done here
        quantize_language(fetched, settings, JUDGING, tmp_path / "out", silent)
    assert [job["length"] for job in jobs] == [66, 65]  # an engine adds a token to what it judges
    with pytest.raises(QuantizeError, match="--length 67 exceeds the model's maximum of 66"):
        quantize_language(fetched, Options("gptq", length=67), JUDGING, tmp_path, silent)


def test_a_second_run_writes_the_same_bytes(llama: Path, tmp_path: Path) -> None:
    for run in ("one", "two"):  # the second has a digest of its own: nothing is reused
        fetched = Fetched(llama, digest(llama) + run.removeprefix("one"))
        place_result(
            tmp_path / run,
            lambda place, fetched=fetched: quantize_language(
                fetched, chosen("gptq"), JUDGING, place, silent
            ),
        )
    one, two = tree(tmp_path / "one"), tree(tmp_path / "two")
    assert one.keys() == two.keys()
    weights = [file for file in one if not file.startswith("quality/")]  # it has times
    assert [file for file in weights if one[file] != two[file]] == []


def test_another_conversion_of_the_same_source_is_quantized_again(llama: Path) -> None:
    keys = {
        prepare(Fetched(llama, "sha256:0", conversion), Options("int8"), JUDGING).key
        for conversion in ("", "recipe-1", "recipe-2")
    }
    assert len(keys) == 3


@pytest.fixture(scope="module")
def rounded(llama: Path, home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """By whether it is symmetric; the asymmetric one is in shards."""
    folder = tmp_path_factory.mktemp("rounded")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TRITON_TOOLKIT_HOME", str(home))
        options: dict[str, Any] = {"symmetric": False, "group_size": 32, "shard_size": "40KB"}
        quantized(llama, folder / "asymmetric", "int4-rtn", **options)
        quantized(llama, folder / "symmetric", "int4-rtn", group_size=32)
    return {True: folder / "symmetric", False: folder / "asymmetric"}


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_autoawq_layout_holds_the_same_numbers(
    rounded: dict[bool, Path], tmp_path: Path, symmetric: bool
) -> None:
    repacked = copied(rounded[symmetric], tmp_path / "repacked")
    repack(repacked, 32, symmetric)
    before, after = all_tensors(rounded[symmetric]), all_tensors(repacked)
    layer = "model.layers.0.self_attn.q_proj"
    scale = before[f"{layer}.weight_scale"].float()
    levels = unpack(before[f"{layer}.weight_packed"]).float()
    zeros: Any = 8.0
    if not symmetric:
        zero = unpack(before[f"{layer}.weight_zero_point"].t().contiguous()).t().float()
        zeros = zero.repeat_interleave(32, dim=1)
    wanted = (levels - zeros) * scale.repeat_interleave(32, dim=1)
    assert torch.allclose(_dequantized(after, layer), wanted, rtol=2e-3, atol=1e-6)
    about = json.loads((repacked / "config.json").read_text())["quantization_config"]
    assert (about["quant_method"], about["version"], about["group_size"]) == ("awq", "gemm", 32)


def all_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """What all files hold; the index, where there is one, says the same."""
    found = {file.name: load_file(file) for file in sorted(folder.glob("*.safetensors"))}
    index = folder / "model.safetensors.index.json"
    assert index.exists() == (len(found) > 1)
    if index.exists():
        placed = {tensor: name for name, tensors in found.items() for tensor in tensors}
        assert json.loads(index.read_text())["weight_map"] == placed
    return {name: tensor for tensors in found.values() for name, tensor in tensors.items()}


def _dequantized(tensors: dict[str, torch.Tensor], layer: str) -> torch.Tensor:
    """AutoAWQ's GEMM layout as its kernels read it: `[inputs, outputs]`, interleaved by eight."""
    order = torch.tensor([0, 4, 1, 5, 2, 6, 3, 7])  # where outputs 0 … 7 stand among the nibbles

    def nibbles(packed: torch.Tensor) -> torch.Tensor:
        found = torch.stack([(packed >> (4 * place)) & 0xF for place in range(8)], dim=-1)
        return found[..., order].reshape(packed.shape[0], -1).float()

    group = tensors[f"{layer}.qweight"].shape[0] // tensors[f"{layer}.scales"].shape[0]
    zeros = nibbles(tensors[f"{layer}.qzeros"]).repeat_interleave(group, dim=0)
    scales = tensors[f"{layer}.scales"].float().repeat_interleave(group, dim=0)
    return ((nibbles(tensors[f"{layer}.qweight"]) - zeros) * scales).t()


def test_packing_and_unpacking_are_each_others_inverse() -> None:
    values = torch.randint(0, 16, (5, 24), generator=torch.Generator().manual_seed(0))
    order = torch.tensor([0, 4, 1, 5, 2, 6, 3, 7])
    found = unpack(pack(values)).reshape(5, -1, 8)[:, :, order].reshape(5, -1)
    assert torch.equal(found, values.to(torch.int32))


@pytest.mark.usefixtures("rounded")
def test_a_result_beyond_its_limits_is_kept_aside(llama: Path, tmp_path: Path) -> None:
    strict = Judging(Limits(max_ppl_ratio=1.0000001, max_kl=1e-9), passages=2, engine=False)
    with pytest.raises(QualityError, match="mean KL divergence is") as caught:
        quantized(llama, tmp_path / "out", "int4-rtn", strict, group_size=32)
    assert caught.value.exit_code == 3
    assert not (tmp_path / "out").exists()
    aside = tmp_path / "out.rejected"
    assert "**Refused:**" in (aside / "quality" / "report.md").read_text()
    assert (aside / "model.safetensors").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out.rejected"]


def test_what_was_quantized_already_is_not_quantized_again_when_resumed(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The measuring fails; the second run continues from there."""
    from toolkit.quantize import language

    titles: list[str] = []

    class Listening:
        def step(self, title: str, **options: Any) -> Any:
            titles.append(title)
            return silent.step(title, **options)

    def run() -> None:
        settings = Options("int4-rtn", group_size=64, device="cpu")
        fetched = Fetched(llama, digest(llama))
        place_result(
            tmp_path / "out",
            lambda place: quantize_language(fetched, settings, JUDGING, place, Listening()),
        )

    monkeypatch.setattr(language, "_measure", lambda *_: 1 / 0)
    for wanted in (True, False):
        titles.clear()
        with pytest.raises(ZeroDivisionError):
            run()
        assert ("quantize" in titles) is wanted
        assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("rounded")
def test_a_full_disk_keeps_nothing(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("toolkit.quantize.language.shutil.copyfile", full)
    with pytest.raises(QuantizeError, match="No space left on device"):
        quantized(llama, tmp_path / "out", "int4-rtn", group_size=32)
    assert list(tmp_path.iterdir()) == []


def copied(source: Path, place: Path) -> Path:
    shutil.copytree(source, place)
    return place


def test_what_is_no_whole_checkpoint_is_refused(llama: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    cut = copied(llama, tmp_path / "cut")
    whole = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    pickled = copied(llama, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    other = copied(llama, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    unknown = config | {"architectures": ["NobodysForCausalLM"]}
    (other / "config.json").write_text(json.dumps(unknown))
    encoder = copied(llama, tmp_path / "encoder")
    (encoder / "config.json").write_text(json.dumps(config | {"architectures": ["BertModel"]}))
    twice = copied(llama, tmp_path / "twice")
    again = config | {"quantization_config": {"quant_method": "gptq"}}
    (twice / "config.json").write_text(json.dumps(again))
    for folder, kind, message in (
        ("empty", QuantizeError, "has no config.json"),
        ("cut", ConvertError, "is incomplete"),
        ("pickled", QuantizeError, "contains pickles"),
        ("other", QuantizeError, "NobodysForCausalLM is not supported"),
        ("encoder", QuantizeError, "not a causal language model"),
        ("twice", QuantizeError, r"is already quantized \(gptq\)"),
    ):
        with pytest.raises(kind, match=message) as caught:
            quantized(tmp_path / folder, tmp_path / "out", "int4-rtn")
        assert caught.value.hint
        assert not (tmp_path / "out").exists()


def test_options_that_do_not_fit_are_refused_together(llama: Path, tmp_path: Path) -> None:
    with pytest.raises(QuantizeError) as caught:
        quantized(llama, tmp_path / "out", "int8", symmetric=False, group_size=32, layout="autoawq")
    assert "--group-size" in caught.value.message
    assert "--asymmetric" in caught.value.message
    assert "autoawq" in caught.value.message
    with pytest.raises(QuantizeError, match="--calibration requires"):
        quantized(llama, tmp_path / "out", "fp8", calibration="some.txt")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.usefixtures("rounded")
def test_a_missing_gpu_is_told_even_if_the_result_is_there(llama: Path, tmp_path: Path) -> None:
    settings = Options("int4-rtn", group_size=32, device="cuda")
    with pytest.raises(QuantizeError, match="--device cuda"):
        quantize_language(Fetched(llama, "sha256:0"), settings, JUDGING, tmp_path, silent)


def test_an_interrupted_run_leaves_no_process_and_no_file(llama: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "toolkit", "quantize", str(llama), "--awq", "--no-engine"]
    with subprocess.Popen(
        [*command, "-o", str(tmp_path / "out")],
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    ) as process:
        parent = psutil.Process(process.pid)
        wait_for(lambda: parent.children(recursive=True), what="the worker")
        workers = parent.children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
        assert process.returncode == 130
        assert told.endswith(b"interrupted: nothing was written\n")
    wait_for(lambda: not any(map(alive, workers)), what="the workers' end")
    assert list(tmp_path.iterdir()) == []
