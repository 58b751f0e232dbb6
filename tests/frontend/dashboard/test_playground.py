"""The status page and the playground in a real Chromium, on the echo models."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.support.browser import (
    check_accessible,
    check_width,
    needs_chromium,
    window,
)
from tests.support.echo import EchoTriton, echo_requests
from tests.support.gateway import Gateway, run_gateway

pytestmark = needs_chromium


@pytest.fixture
def page(browser: Browser, gateway: Gateway) -> Iterator[Page]:
    with window(browser, base_url=gateway.url) as opened:
        yield opened


@pytest.mark.parametrize("path", ["/", "/playground"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_are_accessible_in_both_themes(page: Page, path: str, theme: str) -> None:
    page.goto(path)
    page.get_by_label("Theme").select_option(theme)
    check_accessible(page)
    page.reload()  # the choice stays
    assert page.evaluate("document.documentElement.dataset.theme") == theme


@pytest.mark.parametrize("path", ["/", "/playground"])
def test_pages_fit_a_telephone(browser: Browser, gateway: Gateway, path: str) -> None:
    size = {"width": 360, "height": 740}
    with window(browser, base_url=gateway.url, viewport=size) as page:
        page.goto(path)
        if path == "/playground":  # where a model sees, a field more is shown
            expect(page.locator("#pictures")).to_be_visible()
        check_width(page)
        check_accessible(page)


def test_the_status_page_shows_models_and_copies_a_call(browser: Browser, gateway: Gateway) -> None:
    permissions = ["clipboard-read", "clipboard-write"]
    with window(browser, base_url=gateway.url, permissions=permissions) as page:
        page.goto("/")
        row = page.get_by_role("row").filter(has=page.get_by_text("echo", exact=True))
        expect(row).to_contain_text("4,096 tokens")
        page.get_by_role("button", name="Copy").first.click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()").startswith("curl http://")


def test_a_chat_streams_and_shows_its_request(page: Page) -> None:
    page.goto("/playground")
    page.get_by_label("System prompt").fill("Be brief.")
    page.get_by_label("Temperature").first.fill("0.5")
    page.get_by_label("Message").fill("good <b>morning</b>")
    # keys, unlike clicks, do not wait until there are models
    expect(page.get_by_role("button", name="Send")).to_be_enabled()
    page.get_by_label("Message").press("Control+Enter")
    log = page.get_by_role("log")
    expect(log.locator(".turn").nth(1)).to_contain_text("good <b>morning</b>")
    expect(page.locator("#chat-facts")).to_contain_text("tokens/s")
    page.get_by_text("The request as code").first.click()
    curl = page.locator("#panel-chat [data-curl]")
    expect(curl).to_contain_text('"temperature": 0.5')
    expect(curl).to_contain_text("Be brief.")
    page.get_by_role("button", name="Clear").click()
    expect(log.locator(".turn")).to_have_count(0)


def test_an_answer_is_stopped(page: Page, echo_triton: EchoTriton) -> None:
    page.goto("/playground")
    page.get_by_label("Message").fill(json.dumps({"text": "endless", "never_finish": True}))
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("log")).to_contain_text("endless")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Send")).to_be_enabled()
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    expect(page.locator("#problem")).to_be_hidden()


def test_tools_and_their_results(page: Page, echo_triton: EchoTriton) -> None:
    page.goto("/playground")
    page.get_by_text("Tools", exact=True).click()
    tools = [{"name": "weather", "parameters": {"type": "object", "properties": {}}}]
    page.get_by_label("Functions, as a JSON array").fill(json.dumps(tools))
    call = {"name": "weather", "arguments": '{"city": "Rome"}'}
    page.get_by_label("Message").fill(json.dumps({"tool_calls": [call]}))
    page.get_by_role("button", name="Send", exact=True).click()
    page.get_by_label('weather({"city": "Rome"}) returns').fill("22 degrees")
    page.get_by_role("button", name="Send the results").click()
    expect(page.locator(".turn").nth(2)).to_contain_text("22 degrees")
    sent = echo_requests(echo_triton)[-1]
    assert "22 degrees" in json.dumps(sent)


def test_wrong_settings_are_named_and_nothing_is_lost(page: Page) -> None:
    page.goto("/playground")
    page.get_by_text("Structured output").click()
    page.get_by_label("JSON schema of the answer").fill("{")
    page.get_by_label("Message").fill("hello")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_contain_text("JSON schema: not valid JSON")
    expect(page.get_by_label("Message")).to_have_value("hello")


def test_the_keyboard_reaches_every_tab(page: Page) -> None:
    page.goto("/playground")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.get_by_role("tab", name="Chat").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Embeddings")).to_be_focused()
    expect(page.get_by_role("tabpanel", name="Embeddings")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator("#panel-embeddings select")).to_be_focused()


def test_nothing_can_be_sent_before_the_models_are_known(page: Page) -> None:
    waiting: list[Route] = []

    def hold(route: Route) -> None:  # Playwright refuses the bound method of a list
        waiting.append(route)

    page.route("**/v1/models", hold)
    page.goto("/playground")
    page.get_by_label("Message").fill("hello there")
    send = page.get_by_role("button", name="Send")
    expect(send).to_be_disabled()
    page.get_by_label("Message").press("Control+Enter")
    expect(page.locator(".turn")).to_have_count(0)
    for route in waiting:
        route.continue_()
    send.click()
    expect(page.locator(".turn").nth(1)).to_contain_text("hello there")


def test_a_key_is_asked_for_where_callers_need_one(
    browser: Browser, echo_triton: EchoTriton, tmp_path: Path
) -> None:
    key = "sk-the-key-of-ada-0123456789"
    digest = hashlib.sha256(key.encode()).hexdigest()
    (tmp_path / "keys").write_text(f"ada user sha256:{digest}\n")
    flags = ["--keys-file", str(tmp_path / "keys")]
    with run_gateway(echo_triton.grpc_address, tmp_path / "log", *flags) as gateway:
        context = browser.new_context(base_url=gateway.url)
        page = context.new_page()  # its console reports the refusals
        page.goto("/playground")
        expect(page.get_by_role("alert")).to_contain_text("key")
        page.get_by_label("Key").fill(key)
        page.get_by_role("button", name="Use this key").click()
        page.get_by_label("Message").fill("hello there")
        page.get_by_role("button", name="Send").click()
        expect(page.locator(".turn").nth(1)).to_contain_text("hello there")
        assert "sk-the-key" not in page.locator(".request").first.inner_text()
        assert (
            page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])") == "[{},{}]"
        )
        context.close()


def test_static_files_are_kept_and_nothing_else_is_read(raw: httpx2.Client) -> None:
    page = raw.get("/playground")
    assert "'unsafe" not in page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    digest = page.text.partition("/static/")[2].partition("/")[0]
    answer = raw.get(f"/static/{digest}/playground/main.js")
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    for name in ("../pages.py", "..%2fpages.py", "playground", "gone.js"):
        assert raw.get(f"/static/{digest}/{name}").status_code == 404
