"""Reranking over the real Triton, with a tiny cross-encoder of a real architecture."""

from collections.abc import Iterator

import httpx2
import pytest

from tests.support.echo import running_echo
from tests.support.gateway import Gateway, run_gateway
from toolkit.building import build
from toolkit.runtime.environments import link_environments
from toolkit.spec import load
from toolkit.targets import find_target

MODELS = """
version: 1
models:
  judge:
    kind: rerank
    source: path:judge
    context_length: 24
"""
DOCUMENTS = ["red apple", "a dog runs", "blue sky over the sea", "red"]


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    from tests.support.tiny_models import save_cross_encoder  # with torch: seconds

    folder = tmp_path_factory.mktemp("judge")
    save_cross_encoder(folder / "judge")
    (folder / "models.yaml").write_text(MODELS)
    repository = folder / "model_repository"
    build(load(folder / "models.yaml"), find_target("embedded"), repository)
    link_environments(repository)
    with (
        running_echo(repository, folder / "triton.log") as triton,
        run_gateway(triton.grpc_address, folder / "log", "--cache", "asked") as gateway,
    ):
        yield gateway


def post(gateway: Gateway, path: str, **body: object) -> httpx2.Response:
    return httpx2.post(f"{gateway.url}{path}", json={"model": "judge"} | body, timeout=60)


def test_scores_are_cached_for_who_asks_for_it(judge: Gateway) -> None:
    body = {"model": "judge", "query": "blue", "documents": DOCUMENTS}
    asks = {"x-cache-control": "use"}
    first, second = (
        httpx2.post(f"{judge.url}/v1/rerank", json=body, headers=asks, timeout=60) for _ in range(2)
    )
    assert (first.headers["x-cache"], second.headers["x-cache"]) == ("miss", "hit")
    assert first.json()["results"] == second.json()["results"]
    assert first.json()["usage"] == second.json()["usage"]
    other = {**body, "documents": DOCUMENTS[:2]}
    missed = httpx2.post(f"{judge.url}/v1/rerank", json=other, headers=asks, timeout=60)
    assert missed.headers["x-cache"] == "miss"


def test_documents_come_back_best_first(judge: Gateway) -> None:
    answer = post(judge, "/v1/rerank", query="red", documents=DOCUMENTS).json()
    scores = [result["relevance_score"] for result in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert {result["index"] for result in answer["results"]} == {0, 1, 2, 3}
    for result in answer["results"]:
        assert result["document"]["text"] == DOCUMENTS[result["index"]]
        assert 0 <= result["relevance_score"] <= 1
    assert answer["usage"]["total_tokens"] > len(DOCUMENTS)
    best = post(judge, "/rerank", query="red", documents=DOCUMENTS, top_n=2).json()["results"]
    assert best == answer["results"][:2]
    bare = post(judge, "/v2/rerank", query="red", documents=[{"text": d} for d in DOCUMENTS]).json()
    assert [result["index"] for result in bare["results"]] == [
        result["index"] for result in answer["results"]
    ]
    assert "document" not in bare["results"][0]


def test_scores_are_those_of_reranking_in_input_order(judge: Gateway) -> None:
    ranked = post(judge, "/v1/rerank", query="red", documents=DOCUMENTS).json()["results"]
    expected = [result["relevance_score"] for result in sorted(ranked, key=lambda r: r["index"])]
    one_to_many = post(judge, "/v1/score", text_1="red", text_2=DOCUMENTS).json()["data"]
    assert [entry["score"] for entry in one_to_many] == pytest.approx(expected, abs=1e-6)
    pairs = post(judge, "/score", queries=["red"] * 4, documents=DOCUMENTS).json()["data"]
    assert [entry["score"] for entry in pairs] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/rerank", {"documents": ["a"]}, "query"),
        ("/v1/rerank", {"query": "a"}, "documents"),
        ("/v1/rerank", {"query": "a", "documents": []}, "documents"),
        ("/v1/rerank", {"query": "a", "documents": [5]}, "documents[0]"),
        ("/v1/rerank", {"query": "a", "documents": ["b"], "top_n": 0}, "top_n"),
        ("/v1/rerank", {"query": "a", "documents": ["b"], "colour": 1}, "colour"),
        ("/v1/score", {"text_1": ["a", "b"], "text_2": ["a", "b", "c"]}, "text_1"),
        ("/v1/score", {"text_1": "a"}, "text_2"),
        ("/v1/rerank", {"query": "a", "documents": ["red " * 50]}, "documents[0]"),
    ],
)
def test_what_cannot_be_ranked_is_named(
    judge: Gateway, path: str, body: dict[str, object], param: str
) -> None:
    answer = post(judge, path, **body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


def test_too_long_documents_are_cut_when_asked(judge: Gateway) -> None:
    body = {"query": "red", "documents": ["red " * 50], "truncate_prompt_tokens": -1}
    assert post(judge, "/v1/rerank", **body).status_code == 200


def test_other_models_do_not_rank(gateway: Gateway) -> None:
    answer = post(gateway, "/v1/rerank", model="echo", query="a", documents=["b"])
    assert answer.json()["error"]["code"] == "model_not_supported"
