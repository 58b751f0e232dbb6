"""Images on their way into a real vision-language model with random weights."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openai import BadRequestError, OpenAI
from PIL import Image

from tests.python_backends.models import write_chat
from tests.support.client import Client, StreamError, text_of
from tests.support.gateway import run_gateway
from tests.support.triton import Server, serve
from tests.support.weights import write_idefics

GREEDY = {"max_tokens": 12, "temperature": 0, "ignore_eos": True}


@pytest.fixture(scope="module")
def engine_server(scratch: Path) -> Iterator[Server]:
    write_idefics(scratch / "idefics")
    name = write_chat(
        scratch / "images",
        "seer",
        scratch / "idefics",
        limit_mm_per_prompt={"image": 3},
        dtype="float32",
    )
    with serve(scratch / "images", [name], scratch / "images-run", ready_s=300) as running:
        yield running


@pytest.fixture
def client(engine_server: Server) -> Iterator[Client]:
    with Client(engine_server.grpc_address) as connected:
        yield connected


def picture(colour: str, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (60, 40), colour).save(file, kind)
    return file.getvalue()


def ask(client: Client, *files: bytes, parts: int | None = None) -> list[dict[str, Any]]:
    count = len(files) if parts is None else parts
    content = [{"type": "image"}] * count + [{"type": "text", "text": "what is it"}]
    return client.events(
        "seer",
        prompt={"messages": [{"role": "user", "content": content}]},
        sampling_parameters=GREEDY,
        images=np.array(files, dtype=np.object_),
    )


def test_the_model_sees_what_it_is_shown(client: Client) -> None:
    red, blue = ask(client, picture("red")), ask(client, picture("blue"))
    assert text_of(red) == text_of(ask(client, picture("red")))
    assert [e["token_ids"] for e in red] != [e["token_ids"] for e in blue]
    both = ask(client, picture("red"), picture("blue"))
    counts = [events[-1]["usage"]["prompt_tokens"] for events in (red, both)]
    assert counts[1] - counts[0] == 7, "four tokens of an image and three marks"


def test_images_without_a_place_and_other_files_are_refused(client: Client) -> None:
    with pytest.raises(StreamError):
        ask(client, picture("red"), picture("blue"), parts=1)
    with pytest.raises(StreamError, match="image 0 cannot be read"):
        ask(client, b"no picture")


def test_the_whole_path_through_the_sdk(engine_server: Server, tmp_path: Path) -> None:
    def url(file: bytes, kind: str) -> str:
        return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"

    def said(*urls: str) -> Any:
        parts: Any = [{"type": "image_url", "image_url": {"url": one}} for one in urls]
        parts.append({"type": "text", "text": "what is it"})
        return sdk.chat.completions.create(
            model="seer",
            messages=[{"role": "user", "content": parts}],
            max_tokens=12,
            temperature=0,
            extra_body={"ignore_eos": True},
        )

    with (
        run_gateway(engine_server.grpc_address, tmp_path / "log") as gateway,
        OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0) as sdk,
    ):
        red = said(url(picture("red"), "png"))
        assert (
            red.choices[0].message.content
            == said(url(picture("red", "WEBP"), "webp")).choices[0].message.content
        )
        assert (
            red.choices[0].message.content
            != said(url(picture("blue", "GIF"), "gif")).choices[0].message.content
        )
        with pytest.raises(BadRequestError, match="base64"):
            said("data:image/png;base64,!")
