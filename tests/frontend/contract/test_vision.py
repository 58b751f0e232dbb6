"""Images through the official SDK and the real Triton."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import ollama
import pytest
from openai import BadRequestError, OpenAI
from PIL import Image

from tests.support.echo import EchoTriton, echo_requests
from tests.support.gateway import Gateway, run_gateway


def picture(colour: str = "red", size: tuple[int, int] = (8, 8)) -> str:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "JPEG")
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def asked(*urls: str) -> Any:
    parts: list[Any] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": "who is it"}]}]


def test_images_reach_the_engine_as_plain_files(client: OpenAI, echo_triton: EchoTriton) -> None:
    answer = client.chat.completions.create(
        model="echo", messages=asked(picture("red"), picture("blue", (3, 2)))
    )
    assert answer.choices[0].message.content == "who is it"
    told = echo_requests(echo_triton)[-1]
    files = [Image.open(io.BytesIO(base64.b64decode(file))) for file in told["images"]]
    assert [(file.format, file.size) for file in files] == [("PNG", (8, 8)), ("PNG", (3, 2))]
    assert [part["type"] for part in told["prompt"]["messages"][0]["content"]] == [
        "image",
        "image",
        "text",
    ]


def test_ollamas_images_reach_the_engine(gateway: Gateway, echo_triton: EchoTriton) -> None:
    file = picture().partition(",")[2]
    api = ollama.Client(host=gateway.url)
    try:
        message = {"role": "user", "content": "who is it", "images": [file, file]}
        assert api.chat("echo", messages=[message]).message.content == "who is it"
        assert len(echo_requests(echo_triton)[-1]["images"]) == 2
        parts = list(api.generate("echo", "who is it", images=[file], stream=True))
        assert "".join(part.response for part in parts) == "who is it"
        assert len(echo_requests(echo_triton)[-1]["images"]) == 1
        with pytest.raises(ollama.ResponseError, match=r"images\[0\]' is not base64"):
            api._request_raw(
                "POST", "/api/chat", json={"model": "echo", "messages": [message | {"images": [1]}]}
            )
        with pytest.raises(ollama.ResponseError, match="raw"):
            api.generate("echo", "x", images=[file], raw=True)
    finally:
        api._client.close()


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:1/x",
        "https://localhost/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://0177.0.0.1/x",
        "https://user@127.0.0.1/x",
        "https://a.example\\@127.0.0.1/x",
        "data:image/png;base64,AAAA",
    ],
)
def test_what_is_not_fetched_is_named(client: OpenAI, url: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.chat.completions.create(model="echo", messages=asked(picture(), url))
    assert caught.value.param == "messages[0].content[1].image_url.url"
    assert caught.value.code == "invalid_image"


def test_an_image_that_takes_long_to_decode_is_refused(client: OpenAI) -> None:
    file = io.BytesIO()
    Image.new("RGB", (2000, 2000)).save(file, "JPEG", progressive=True)
    jpeg = file.getvalue()
    scan = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    for scans, problem in ((1000, "more than 50 scans"), (0, None)):
        data = base64.b64encode(jpeg[:-2] + scan * scans + jpeg[-2:]).decode()
        messages = asked(*[f"data:image/jpeg;base64,{data}"] * 4)
        if problem is None:
            assert client.chat.completions.create(model="echo", messages=messages)
            continue
        with pytest.raises(BadRequestError, match=problem) as caught:
            client.chat.completions.create(model="echo", messages=messages)
        assert caught.value.param == "messages[0].content[0].image_url.url"


def test_bounds_are_settings(echo_triton: EchoTriton, tmp_path: Path) -> None:
    flags = ("--max-images", "1", "--max-image-pixels", "50")
    with (
        run_gateway(echo_triton.grpc_address, tmp_path / "log", *flags) as gateway,
        OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0) as sdk,
    ):
        for urls, problem in (
            ([picture(), picture()], "2 images; at most 1"),
            ([picture()], "8x8 pixels; at most 50"),
        ):
            with pytest.raises(BadRequestError, match=problem):
                sdk.chat.completions.create(model="echo", messages=asked(*urls))


def test_a_model_without_eyes_says_so(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.chat.completions.create(model="echo-embedding", messages=asked(picture()))
    assert json.loads(caught.value.response.text)["error"]["code"] == "model_not_supported"
