"""Which layers are quantized: all linear ones but those that `--ignore` names, read back."""

from collections.abc import Sequence

import pytest

from toolkit.convert.safetensors_file import Tensor
from toolkit.errors import QuantizeError
from toolkit.quantize.layers import check_quantized, quantized_layers, select_layers

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")


def tensors(names: Sequence[str]) -> dict[str, Tensor]:
    return {name: Tensor(name, "BF16", (64, 64), "f") for name in names}


def checkpoint(*, tied: bool = True, experts: int = 0) -> dict[str, Tensor]:
    names = ["model.embed_tokens.weight", *([] if tied else ["lm_head.weight"])]
    for number in range(2):
        layer = f"model.layers.{number}"
        names += [f"{layer}.self_attn.{end}.weight" for end in ATTENTION]
        if experts:
            names.append(f"{layer}.mlp.gate.weight")
        blocks = [f"{layer}.mlp.experts.{n}" for n in range(experts)] or [f"{layer}.mlp"]
        names += [f"{block}.{end}.weight" for block in blocks for end in MLP]
    return tensors(names)


def written(names: Sequence[str]) -> dict[str, Tensor]:
    """What llm-compressor writes for quantized layers."""
    return tensors(
        [f"{name}.{part}" for name in names for part in ("weight_packed", "weight_scale")]
    )


@pytest.mark.parametrize("ignore", [(), ("lm_head",), ("embed_tokens",)])
@pytest.mark.parametrize("tied", [True, False])
def test_heads_and_embeddings_stay_whatever_is_ignored(tied: bool, ignore: tuple[str, ...]) -> None:
    layers = select_layers(checkpoint(tied=tied), ignore)
    assert len(layers.inputs) == 2 * (len(ATTENTION) + len(MLP))
    assert layers.left_out == ()


@pytest.mark.parametrize(
    ("ignore", "ends"),
    [
        (("down_proj",), {"down_proj"}),
        (("mlp.down_proj", "lm_head"), {"down_proj"}),
        (("q_proj", "k_proj", "v_proj"), {"q_proj", "k_proj", "v_proj"}),
        (("re:.*mlp",), set(MLP)),
    ],
)
def test_quantized_is_all_but_what_is_ignored(ignore: tuple[str, ...], ends: set[str]) -> None:
    whole, layers = select_layers(checkpoint(), ()), select_layers(checkpoint(), ignore)
    assert {name.rpartition(".")[2] for name in layers.left_out} == ends
    assert len(layers.left_out) == 2 * len(ends)
    assert set(layers.inputs) == set(whole.inputs) - set(layers.left_out)


@pytest.mark.parametrize(
    "ignore",
    ["nosuch", "proj", "Linear", "model.layers.7", "re:nosuch", "layernorm", "self_attn"],
)
def test_an_entry_that_matches_nothing_is_refused(ignore: str) -> None:
    with pytest.raises(QuantizeError, match=f"--ignore {ignore} matches no linear layer") as caught:
        select_layers(checkpoint(), ("down_proj", ignore))
    assert "q_proj" in (caught.value.hint or "")


def test_an_entry_that_is_no_pattern_is_refused() -> None:
    with pytest.raises(QuantizeError, match="is not a valid pattern"):
        select_layers(checkpoint(), ("re:(",))


@pytest.mark.parametrize(
    "ignore",
    [
        ("k_proj",),
        ("q_proj", "v_proj"),
        ("up_proj",),
        ("model.layers.1.self_attn.k_proj",),
        ("q_proj", "k_proj", "model.layers.0.self_attn.v_proj"),
    ],
)
def test_layers_that_vllm_fuses_are_not_split(ignore: tuple[str, ...]) -> None:
    with pytest.raises(QuantizeError, match="vLLM loads them as one layer"):
        select_layers(checkpoint(), ignore)


@pytest.mark.parametrize("ignore", ["down_proj", "re:.*experts\\.1\\.", "re:.*experts"])
def test_experts_of_a_block_are_one_layer_and_routers_stay(ignore: str) -> None:
    whole = checkpoint(experts=2)
    assert not any(name.endswith("mlp.gate") for name in select_layers(whole, ()).inputs)
    if ignore == "re:.*experts":
        assert len(select_layers(whole, (ignore,)).inputs) == 2 * len(ATTENTION)
        return
    with pytest.raises(QuantizeError, match="vLLM loads them as one layer"):
        select_layers(whole, (ignore,))


def test_nothing_left_is_refused() -> None:
    with pytest.raises(QuantizeError, match="no linear layer is left"):
        select_layers(checkpoint(), ("re:.*",))


@pytest.mark.parametrize("prefix", ["", "language_model."])
def test_the_written_file_is_compared_with_what_was_asked(prefix: str) -> None:
    layers = select_layers(checkpoint(), ("down_proj",))
    right = [f"{prefix}{name}" for name in layers.inputs]
    assert check_quantized(layers, written(right)) == sorted(right)
    assert quantized_layers(checkpoint()) == []
    with pytest.raises(QuantizeError, match=r"1 of 12 layers stayed in float: .*q_proj"):
        check_quantized(layers, written(right[1:]))
    with pytest.raises(QuantizeError, match=r"12 of 12 layers stayed in float: .* and 8 more"):
        check_quantized(layers, {})
    for extra in (layers.left_out[0], "lm_head"):
        with pytest.raises(QuantizeError, match=f"{extra} was quantized although"):
            check_quantized(layers, written([*right, f"{prefix}{extra}"]))
