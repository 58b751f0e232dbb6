"""`toolkit quantize` on ONNX: the default encoder's real weights, and a diffusion model's parts."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.tiny_models import save_tokenizer
from toolkit.building import Built
from toolkit.convert.quiet import quiet
from toolkit.errors import QualityError, QuantizeError
from toolkit.kinds import read_facts
from toolkit.kinds.embedding import EmbeddingFacts
from toolkit.progress import silent
from toolkit.quantize.graph_quality import rank_correlation
from toolkit.quantize.graphs import GraphOptions, is_graph, quantize_graph
from toolkit.quantize.limits import Limits
from toolkit.quantize.run import place_result


@pytest.fixture
def encoder(default_repository: Built) -> Path:
    return default_repository.output / "all-minilm-l6-v2.encoder" / "1" / "model.onnx"


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Little text to judge by, where what is judged is not the point."""
    file = tmp_path / "few.txt"
    file.write_text("A ship left the harbour. It carried salt and wool. Nobody knew its captain.")
    return file


def test_int8_keeps_the_order_of_pairs(encoder: Path, tmp_path: Path) -> None:
    options = GraphOptions("int8-dynamic")
    report = place_result(
        tmp_path / "out", lambda place: quantize_graph(encoder, options, place, silent)
    )
    assert report["rank_correlation"] > 0.97
    assert report["cosine"]["mean"] > 0.985
    assert report["size_bytes"]["ratio"] < 0.3
    assert report["sentences"] > 40
    assert set(report["sentences_per_s"]) == {"before", "after", "ratio"}
    facts = read_facts(tmp_path / "out")
    assert isinstance(facts, EmbeddingFacts)
    assert facts.dimensions == 384
    assert "rank correlation" in (tmp_path / "out" / "quality" / "report.md").read_text()
    assert is_graph(tmp_path / "out")


def test_fp16_is_nearly_lossless(encoder: Path, few: Path, tmp_path: Path) -> None:
    options = GraphOptions("fp16", evaluation=few)
    report = place_result(
        tmp_path / "out", lambda place: quantize_graph(encoder, options, place, silent)
    )
    assert report["cosine"]["min"] > 0.9999
    assert report["size_bytes"]["ratio"] < 0.52


def test_static_ranges_below_the_limit_are_kept_aside(
    encoder: Path, few: Path, tmp_path: Path
) -> None:
    options = GraphOptions(
        "int8-static", samples=4, limits=Limits(min_cosine=0.999), evaluation=few
    )
    with pytest.raises(QualityError, match=r"mean cosine is 0\.\d+, below 0\.999"):
        place_result(
            tmp_path / "out", lambda place: quantize_graph(encoder, options, place, silent)
        )
    assert not (tmp_path / "out").exists()
    about = json.loads((tmp_path / "out.rejected" / "quality" / "report.json").read_text())
    assert 0.5 < about["cosine"]["mean"] < 0.999


@pytest.mark.parametrize(("method", "least_db"), [("int8-dynamic", 25), ("fp16", 40)])
def test_a_diffusion_models_images_are_compared(
    default_repository: Built, tmp_path: Path, method: str, least_db: float
) -> None:
    source = default_repository.prepared["emoji"].folder
    report = place_result(
        tmp_path / "out",
        lambda place: quantize_graph(source, GraphOptions(method), place, silent),
    )
    assert report["images"] == 3
    assert report["psnr_db"]["min"] > least_db
    assert report["size_bytes"]["ratio"] < 0.8
    assert ("decode" in report["about"]["graphs"]) == (method == "fp16")
    assert is_graph(tmp_path / "out")


def test_static_ranges_do_not_fit_diffusion(default_repository: Built, tmp_path: Path) -> None:
    source = default_repository.prepared["emoji"].folder
    with pytest.raises(QuantizeError, match="change between the steps of a diffusion model"):
        quantize_graph(source, GraphOptions("int8-static"), tmp_path, silent)


def save_graph(folder: Path, weights: dict[str, tuple[int, ...]], positions: int = 64) -> Path:
    """A bare encoder: token and position embeddings, products with `weights`, mean over tokens.

    A weight whose name begins with `made` is computed in the graph, as one that is tied may be.
    """
    from onnx import TensorProto, helper, numpy_helper, save

    random, nodes, last = np.random.default_rng(0), [], "summed"
    sizes = {"words": (20, 32), "places": (positions, 32), **weights}
    values = [
        numpy_helper.from_array(random.normal(size=size).astype(np.float32), name)
        for name, size in sizes.items()
    ]
    values += [numpy_helper.from_array(np.array(n), f"i{n}") for n in (0, 1)]
    values += [numpy_helper.from_array(np.array([n]), f"v{n}") for n in (1, 2)]
    nodes += [
        helper.make_node("Gather", ["words", "input_ids"], ["hidden"]),
        helper.make_node("Shape", ["input_ids"], ["shape"]),
        helper.make_node("Gather", ["shape", "i1"], ["length"]),
        helper.make_node("Range", ["i0", "length", "i1"], ["place"]),
        helper.make_node("Gather", ["places", "place"], ["placed"]),
        helper.make_node("Add", ["hidden", "placed"], ["summed"]),
    ]
    for name in weights:
        weight = f"{name}_value" if name.startswith("made") else name
        if weight != name:
            nodes.append(helper.make_node("Neg", [name], [weight]))
        nodes.append(helper.make_node("MatMul", [last, weight], [f"{name}_out"]))
        last = f"{name}_out"
    nodes += [
        helper.make_node("Cast", ["attention_mask"], ["kept"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["kept", "v2"], ["column"]),
        helper.make_node("Mul", [last, "column"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "v1"], ["embedding"], keepdims=0),
    ]
    axes = ["batch", "length"]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, axes)
        for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 32])
    graph = helper.make_graph(nodes, "bare", inputs, [output], values)
    folder.mkdir()
    save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10),
        folder / "model.onnx",
    )
    with quiet():
        save_tokenizer(folder)
    return folder / "model.onnx"


@pytest.mark.parametrize("method", ["int8-dynamic", "int8-static"])
def test_weights_that_cannot_be_rounded_stay_float_and_are_named(
    few: Path, tmp_path: Path, method: str
) -> None:
    file = save_graph(tmp_path / "bare", {"two": (32, 32), "three": (1, 32, 32)}, positions=40)
    options = GraphOptions(method, samples=4, evaluation=few)
    report = place_result(
        tmp_path / "out", lambda place: quantize_graph(file, options, place, silent)
    )
    assert report["about"]["kept_in_float"] == ["encoder: three [1, 32, 32]"]
    assert report["about"]["rounded_weights"]["encoder"] >= 1
    assert "three [1, 32, 32]" in (tmp_path / "out" / "quality" / "report.md").read_text()
    # what the graph computes, not what its tokenizer promises; and vectors of many lengths
    facts = EmbeddingFacts(dimensions=32, context_length=40, normalized=False)
    assert read_facts(tmp_path / "out") == facts


def test_weights_outside_of_the_graph_are_not_left_behind(few: Path, tmp_path: Path) -> None:
    import onnx

    source = save_graph(tmp_path / "graph", {"w": (32, 32)})
    outside = {"save_as_external_data": True, "location": "weights.bin"}
    onnx.save(onnx.load(source), source, **outside)
    size = source.stat().st_size + (source.parent / "weights.bin").stat().st_size
    report = place_result(
        tmp_path / "out",
        lambda place: quantize_graph(
            source, GraphOptions("int8-dynamic", evaluation=few), place, silent
        ),
    )
    assert [path.name for path in (tmp_path / "out" / "encoder").iterdir()] == ["model.onnx"]
    assert report["size_bytes"]["before"] == size


@pytest.mark.parametrize("weights", [{"three": (1, 32, 32)}, {"made": (32, 32)}])
def test_a_graph_of_which_nothing_was_rounded_is_refused(
    few: Path, tmp_path: Path, weights: dict[str, tuple[int, ...]]
) -> None:
    file = save_graph(tmp_path / "bare", weights)
    options = GraphOptions("int8-static", samples=4, evaluation=few)
    with pytest.raises(QuantizeError, match="--int8-static did not quantize any weight of encoder"):
        place_result(tmp_path / "out", lambda place: quantize_graph(file, options, place, silent))
    assert [path.name for path in tmp_path.glob("out*")] == []


def test_what_is_no_graph_or_lacks_its_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(QuantizeError, match=r"neither an \.onnx file"):
        quantize_graph(tmp_path / "empty", GraphOptions("fp16"), tmp_path / "out", silent)
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(QuantizeError, match="no tokenizer beside it"):
        quantize_graph(tmp_path / "model.onnx", GraphOptions("fp16"), tmp_path / "out", silent)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(QuantizeError, match="cannot be quantized"):
        place_result(
            tmp_path / "out",
            lambda place: quantize_graph(
                tmp_path / "model.onnx", GraphOptions("fp16"), place, silent
            ),
        )
    assert not (tmp_path / "out").exists()


def test_rank_correlation_is_spearmans() -> None:
    from scipy.stats import spearmanr

    random = np.random.default_rng(0)
    wanted = random.normal(size=(12, 5))
    found = wanted + random.normal(size=wanted.shape)
    upper = np.triu_indices(12, 1)
    expected = spearmanr((wanted @ wanted.T)[upper], (found @ found.T)[upper]).statistic
    assert rank_correlation(wanted, found) == pytest.approx(expected)
