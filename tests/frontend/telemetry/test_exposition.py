"""Metrics of upstreams are copied with their upstream, and nothing of them breaks the whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.telemetry.exposition import join, read_page
from frontend.telemetry.history import gpu_values
from tests.support.metrics import samples_of

TRITON = """\
# HELP nv_inference_count Number of inferences performed
# TYPE nv_inference_count counter
nv_inference_count{model="a",version="1"} 3
nv_inference_count{model="a\\"b}",version="1",} 4 1700000000000
# TYPE nv_cpu_utilization gauge
nv_cpu_utilization 0.25
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 9
"""
VLLM = """\
# TYPE vllm:e2e_seconds histogram
vllm:e2e_seconds_bucket{le="1.0"} 1
vllm:e2e_seconds_bucket{le="+Inf"} 2
vllm:e2e_seconds_count 2
vllm:e2e_seconds_sum 3.5
# TYPE nv_inference_count counter
nv_inference_count{upstream="inner"} 5e3
"""


def test_each_sample_has_its_upstream_and_each_metric_appears_once() -> None:
    pages = [read_page(TRITON, "t", 100), read_page(VLLM, "v", 100)]
    text = join(pages).decode()
    found = samples_of(text)
    # the parser here appends the suffix that Prometheus does not need
    assert found["nv_inference_count_total"] == [
        ({"upstream": "t", "model": "a", "version": "1"}, 3),
        ({"upstream": "t", "model": 'a"b}', "version": "1"}, 4),
        ({"upstream": "v", "exported_upstream": "inner"}, 5000),
    ]
    assert 'nv_inference_count{upstream="t",model="a",version="1"} 3\n' in text
    assert found["nv_cpu_utilization"] == [({"upstream": "t"}, 0.25)]
    assert ({"upstream": "v", "le": "+Inf"}, 2) in found["vllm:e2e_seconds_bucket"]
    assert text.count("# TYPE nv_inference_count ") == 1
    assert "process_" not in text


@pytest.mark.parametrize(
    "line",
    [
        "nv_a{x=1} 2", 'nv_a{x="1} 2', "nv_a", "nv_a x", 'nv_a{x="1"}', 'nv_a{x="\\q"} 1',
        'nv_a{x="1"} 2 # exemplar', "nv_a{} 1 2 3", "nv_é 1",
    ],
)  # fmt: skip
def test_an_invalid_line_is_left_out_and_counted(line: str) -> None:
    page = read_page(f"nv_b 1\n{line}\n", "t", 100)
    assert page.dropped == 1
    assert join([page]) == b'# TYPE nv_b untyped\nnv_b{upstream="t"} 1\n'


def test_samples_beyond_the_limit_are_left_out() -> None:
    page = read_page("".join(f'nv_a{{n="{n}"}} 1\n' for n in range(20)), "t", 15)
    assert (page.dropped, len(page.families["nv_a"].lines)) == (5, 15)


@given(
    st.lists(
        st.sampled_from(["nv_a", "{", "}", '"', "\\", "x=", ",", " ", "1", "\n", "# TYPE", "NaN"])
    )
)
def test_whatever_an_upstream_sends_the_text_is_valid(parts: list[str]) -> None:
    text = "nv_a" + "".join(parts)
    samples_of(join([read_page(text, "t", 100)]).decode())


def test_gpus_are_read_for_the_history() -> None:
    text = 'nv_gpu_utilization{gpu_uuid="GPU-1"} 0.5\nnv_gpu_power_usage{gpu_uuid="GPU-1"} 70\n'
    labels = (("gpu_uuid", "GPU-1"), ("upstream", "t"))
    assert gpu_values([read_page(text, "t", 9)]) == {
        ("nv_gpu_utilization", labels): 0.5,
        ("nv_gpu_power_usage", labels): 70,
    }
