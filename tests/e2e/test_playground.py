"""The playground in a real Chromium, on the default models."""

from playwright.sync_api import expect

from tests.support.browser import chromium, needs_chromium, window
from tests.support.processes import Service


@needs_chromium
def test_every_kind_of_model_answers(service: Service) -> None:
    with chromium() as browser, window(browser, base_url=service.url) as page:
        page.set_default_timeout(60_000)
        page.goto("/playground")
        page.get_by_label("Temperature").first.fill("0")
        page.get_by_label("Message").fill("What is the capital of France?")
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_role("log")).to_contain_text("Paris", timeout=60_000)

        page.get_by_role("tab", name="Completion").click()
        page.get_by_role("button", name="Complete").click()
        token = page.locator(".token").first
        token.click(timeout=60_000)
        expect(page.locator(".bars li")).to_have_count(5)

        page.get_by_role("tab", name="Embeddings").click()
        page.get_by_role("button", name="Compare").click()
        cells = page.locator(".matrix td:not(:empty)")
        expect(cells).to_have_count(9, timeout=60_000)
        alike, unlike = (float(cells.nth(one).inner_text()) for one in (1, 2))
        assert alike > unlike

        page.get_by_role("tab", name="Images").click()
        page.get_by_role("button", name="Generate").click()
        image = page.locator(".pictures img")
        expect(image).to_be_visible(timeout=60_000)
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
