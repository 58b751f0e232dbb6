"""A real Chromium without a window, and what every page is checked for."""

import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Starts the browser. Only for modules without asyncio tests: its library has a loop of its own
    in the same thread."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Window:
    """A page, and everything that it complained about."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def note(self, message: ConsoleMessage) -> None:
        """Keeps what the console shows as a warning or an error."""
        if message.type in ("warning", "error"):
            self.complaints.append(message.text)


@contextmanager
def window(browser: Browser, expected: Collection[str] = (), **options: Any) -> Iterator[Page]:
    """A new page with no cookies. Fails when the page complained: a refused script, a bad call.

    `expected`: texts of complaints that the test is about.
    """
    context = browser.new_context(**options)
    context.set_default_timeout(20_000)
    opened = Window(context.new_page())
    opened.page.on("console", opened.note)
    opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    yield opened.page
    context.close()
    others = [one for one in opened.complaints if not any(part in one for part in expected)]
    assert not others, others


def check_accessible(page: Page) -> None:
    """Fails for each violation of WCAG 2.2 A or AA that axe-core finds."""
    levels = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    _keep(page)
    report = Axe().run(page, options={"runOnly": levels})
    assert report.violations_count == 0, report.generate_report()


def _keep(page: Page) -> None:
    """A screenshot of the whole page, where `PAGES_SCREENSHOTS` names a folder for them."""
    if not (folder := os.environ.get("PAGES_SCREENSHOTS")):
        return
    theme = page.locator("html").get_attribute("data-theme") or "system"
    test = os.environ["PYTEST_CURRENT_TEST"].rpartition("::")[2].partition(" ")[0]
    width = page.evaluate("innerWidth")
    name = re.sub(r"[^\w.-]+", "-", f"{test}{urlsplit(page.url).path}")
    file = Path(folder) / f"{name}-{theme}-{width}.png"
    number = 1
    while file.exists():
        number += 1
        file = Path(folder) / f"{name}-{theme}-{width}-{number}.png"
    page.screenshot(path=file, full_page=True)


def check_width(page: Page) -> None:
    """Fails when the page is wider than its window."""
    width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert width <= 0, f"{width} pixels too wide"
    broken = page.evaluate(_BROKEN_WORDS)
    assert not broken, f"one letter on each line: {broken}"


_BROKEN_WORDS = """() => [...document.querySelectorAll(".stack tbody :is(code, small, a, time)")]
  .filter((one) => one.textContent.trim().length > 4 && one.offsetWidth > 0 && one.offsetWidth < 24)
  .map((one) => one.textContent)"""
