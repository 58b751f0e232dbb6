"""Images through the official SDK: base64 and links, formats, previews, usage, refusals."""

import base64
import io
from typing import Any

import httpx2
import pytest
from openai import BadRequestError, OpenAI
from PIL import Image

MODEL = "echo-diffusion"


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_links_lead_to_the_files_that_base64_holds(client: OpenAI) -> None:
    fixed: Any = {"model": MODEL, "prompt": "a cat", "n": 3, "extra_body": {"seed": 4}}
    linked = client.images.generate(response_format="url", **fixed)
    inline = client.images.generate(response_format="b64_json", **fixed)
    urls = [one.url or "" for one in linked.data or []]
    assert len(set(urls)) == 3
    answers = [httpx2.get(url) for url in urls]
    assert {answer.headers["content-type"] for answer in answers} == {"image/png"}
    assert {answer.headers["x-content-type-options"] for answer in answers} == {"nosniff"}
    wanted = [base64.b64decode(one.b64_json or "") for one in inline.data or []]
    assert [answer.content for answer in answers] == wanted
    assert httpx2.get(urls[0].partition("&signature")[0]).status_code == 404
    assert httpx2.get(urls[0].replace("/files/", "/files/x")).json()["error"]["code"] == (
        "file_not_found"
    )


def test_an_answer_tells_size_format_quality_and_usage(client: OpenAI) -> None:
    answer = client.images.generate(
        model=MODEL, prompt="two words", size="48x16", n=2, quality="high", output_format="webp"
    )
    assert (answer.size, answer.output_format, answer.quality) == ("48x16", "webp", "high")
    assert answer.usage is not None
    assert answer.usage.input_tokens == answer.usage.input_tokens_details.text_tokens == 2
    assert answer.usage.output_tokens == 2 * 3
    assert answer.usage.total_tokens == 8
    for one in answer.data or []:
        picture = opened(base64.b64decode(one.b64_json or ""))
        assert (picture.format, picture.size) == ("WEBP", (48, 16))


@pytest.mark.parametrize("wanted", [0, 1, 3])
def test_a_stream_brings_previews_and_then_the_image(client: OpenAI, wanted: int) -> None:
    stream = client.images.generate(
        model=MODEL, prompt="a cat", stream=True, partial_images=wanted, extra_body={"seed": 9}
    )
    events = list(stream)
    *partial, last = events
    assert [one.type for one in partial] == ["image_generation.partial_image"] * wanted
    assert [getattr(one, "partial_image_index", None) for one in partial] == list(range(wanted))
    assert last.type == "image_generation.completed"
    assert last.usage.total_tokens == 2 + 4
    whole = client.images.generate(model=MODEL, prompt="a cat", extra_body={"seed": 9})
    assert [one.b64_json for one in whole.data or []] == [last.b64_json]
    assert len({one.b64_json for one in events}) == wanted + 1


def test_a_failure_before_the_first_picture_is_a_status(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as refusal:
        client.images.generate(model=MODEL, prompt="x", stream=True, size="2048x2048")
    assert refusal.value.param == "size"


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
def test_edits_and_variations_are_refused_clearly(client: OpenAI) -> None:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG")
    calls: Any = (
        lambda: client.images.edit(image=("a.png", out.getvalue()), prompt="x", model=MODEL),
        lambda: client.images.create_variation(image=("a.png", out.getvalue()), model=MODEL),
    )
    for call in calls:
        with pytest.raises(BadRequestError, match="/v1/images/generations") as refusal:
            call()
        assert refusal.value.code == "unsupported_operation"


def test_the_host_of_a_link_is_the_clients_own(raw: httpx2.Client) -> None:
    body = {"model": MODEL, "prompt": "x", "response_format": "url"}
    there = raw.post("/v1/images/generations", json=body, headers={"host": "images.localhost:81"})
    assert there.json()["data"][0]["url"].startswith("http://images.localhost:81/v1/images/files/")
    bad = raw.post("/v1/images/generations", json=body, headers={"host": "a/b?c"})
    assert bad.status_code == 400
