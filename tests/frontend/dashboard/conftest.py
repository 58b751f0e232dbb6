"""One browser for all pages."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.support.browser import chromium

# a machine that runs other tests beside these is slow; nothing waits longer than it has to
expect.set_options(timeout=120_000)


@pytest.fixture(autouse=True)
def without_mouse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every action of every page is tried without a mouse: what would be clicked gets the focus and
    a key. It fails where either is not taken."""
    monkeypatch.setattr(Locator, "click", lambda one: _press(one, "Enter"))
    monkeypatch.setattr(Locator, "check", _check)


def _press(locator: Locator, key: str) -> None:
    expect(locator).to_be_visible()
    expect(locator).to_be_enabled()
    locator.focus()
    expect(locator).to_be_focused()
    locator.page.keyboard.press(key)


def _check(locator: Locator) -> None:
    expect(locator).not_to_be_checked()
    _press(locator, "Space")
    expect(locator).to_be_checked()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started
