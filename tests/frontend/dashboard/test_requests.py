"""What the playground draws is what the API answers, and the code that it shows runs as it is."""

import base64
import io
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import httpx2
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import needs_chromium, window
from tests.support.gateway import Gateway

pytestmark = needs_chromium


@pytest.fixture
def page(browser: Browser, gateway: Gateway) -> Iterator[Page]:
    clipboard = ["clipboard-read", "clipboard-write"]
    with window(browser, base_url=gateway.url, permissions=clipboard) as opened:
        opened.goto("/playground")
        yield opened


def _chat(page: Page) -> None:
    page.get_by_label("Stop at").fill("it's, over")
    picture = io.BytesIO()
    Image.effect_noise((200, 200), 90).save(picture, "PNG")  # too long to be shown
    file = {"name": "noise.png", "mimeType": "image/png", "buffer": picture.getvalue()}
    page.locator("#pictures").set_input_files(file)
    page.get_by_label("Message").fill('a "quote", it\'s $HOME `id` \\ and\nEND\nor so')
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#chat-facts")).to_contain_text("tokens/s")


def _completion(page: Page) -> None:
    page.get_by_role("tab", name="Completion").click()
    page.locator("#prompt").fill('the sky\'s "colour" is')
    page.get_by_role("button", name="Complete").click()
    expect(page.locator(".token").first).to_be_visible()


def _embeddings(page: Page) -> None:
    page.get_by_role("tab", name="Embeddings").click()
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".matrix tbody tr")).to_have_count(3)


def _images(page: Page) -> None:
    page.get_by_role("tab", name="Images").click()
    panel = page.get_by_role("tabpanel", name="Images")
    panel.get_by_label("Previews").fill("2")
    panel.get_by_label("Seed").fill("7")
    panel.get_by_role("button", name="Generate").click()
    expect(panel.locator("img").first).to_be_visible()
    expect(panel.get_by_role("button", name="Generate")).to_be_enabled()


def _copied(page: Page, panel: str, title: str) -> str:
    place = page.get_by_role("tabpanel", name=panel)
    place.get_by_text("The request as code").click()
    call = place.locator(".call").filter(has=page.get_by_role("heading", name=title))
    call.get_by_role("button", name="Copy").click()
    expect(call.get_by_role("button", name="Copied")).to_be_visible()
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text


@pytest.mark.parametrize(
    ("panel", "ask", "answer"),
    [
        ("Chat", _chat, "quote"),
        ("Completion", _completion, "logprobs"),
        ("Embeddings", _embeddings, "embedding"),
        ("Images", _images, "image_generation"),
    ],
)
@pytest.mark.parametrize("title", ["curl", "Python"])
def test_the_code_of_a_request_runs_as_it_is(
    page: Page, panel: str, ask: Callable[[Page], None], answer: str, title: str
) -> None:
    ask(page)
    text = _copied(page, panel, title)
    assert "…" not in text
    program = ["bash", "-c", text] if title == "curl" else [sys.executable, "-c", text]
    environment = {"PATH": os.environ["PATH"], "API_KEY": "unused"}
    done = subprocess.run(program, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert answer in done.stdout.lower()
    assert '"error"' not in done.stdout


def test_tokens_have_the_probabilities_of_the_api(page: Page, raw: httpx2.Client) -> None:
    _completion(page)
    body = {"model": "echo", "prompt": 'the sky\'s "colour" is', "logprobs": 5, "max_tokens": 32,
            "temperature": 0}  # fmt: skip
    told = raw.post("/v1/completions", json=body).json()["choices"][0]["logprobs"]
    expected = [f"{100 * math.exp(one):.1f} %" for one in told["token_logprobs"]]
    tokens = page.locator(".token")
    assert tokens.evaluate_all("all => all.map((one) => one.textContent)") == told["tokens"]
    assert tokens.evaluate_all("all => all.map((one) => one.title)") == expected
    colours = tokens.evaluate_all("all => all.map((one) => getComputedStyle(one).backgroundColor)")
    assert len(set(colours)) == len(set(expected))
    tokens.nth(1).focus()
    page.keyboard.press("Enter")
    bars = page.locator(".bars li")
    assert bars.count() == len(told["top_logprobs"][1])
    best = max(told["top_logprobs"][1].values())
    expect(bars.first).to_contain_text(f"{100 * math.exp(best):.1f} %")


def test_the_matrix_has_the_cosines_of_the_api(page: Page, raw: httpx2.Client) -> None:
    _embeddings(page)
    texts = page.locator("#texts").input_value().splitlines()
    body = {"model": "echo-embedding", "input": texts}
    rows = [one["embedding"] for one in raw.post("/v1/embeddings", json=body).json()["data"]]
    expected = [[_cosine(a, b) for b in rows] for a in rows]
    shown = page.locator(".matrix tbody tr").evaluate_all(
        "rows => rows.map((row) => [...row.querySelectorAll('td')].map((one) => +one.textContent))"
    )
    for row, drawn in zip(expected, shown, strict=True):
        assert drawn == pytest.approx(row, abs=0.006)


def _cosine(one: list[float], other: list[float]) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / (math.hypot(*one) * math.hypot(*other))


def test_previews_are_drawn_before_the_image(page: Page) -> None:
    page.get_by_role("tab", name="Images").click()
    page.evaluate(
        """() => {
          window.drawn = [];
          new MutationObserver((all) => all.forEach((one) => {
            if (one.target.src) window.drawn.push(one.target.src);
          })).observe(document.querySelector(".pictures"),
            { subtree: true, attributes: true, attributeFilter: ["src"] });
        }"""
    )
    _images(page)
    shown = page.locator(".pictures img")
    drawn = page.evaluate("window.drawn")
    # the first one was drawn before it was put into the page
    assert len(set(drawn)) >= 2
    assert shown.get_attribute("src") == drawn[-1]
    png = base64.b64decode(drawn[-1].partition(",")[2])
    assert Image.open(io.BytesIO(png)).size[0] > 1


def test_nothing_of_a_conversation_is_kept(page: Page) -> None:
    _chat(page)
    kept = """async () => [{...localStorage}, {...sessionStorage}, await indexedDB.databases(),
        await caches.keys(), document.cookie]"""
    assert page.evaluate(kept) == [{}, {}, [], [], ""]
    page.reload()
    expect(page.locator(".turn")).to_have_count(0)
