"""Canaries are made, edited, promoted and ended on the page of models, and all of it is undone."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.frontend.dashboard.admin.test_pages import dialog, noticed, row
from tests.support.browser import check_accessible, check_width, needs_chromium
from tests.support.databases import Databases
from tests.support.plain import versioned_triton
from tests.support.site import Site, open_admin, run_site

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def versions(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A gateway in front of a Triton with two versions of `chat`."""
    folder = tmp_path_factory.mktemp("canaries")
    flags = ("--poll-interval-s", "0.2")
    with versioned_triton(folder) as triton:
        address, log = triton.grpc_address, folder / "log"
        with run_site(address, log, databases.sqlite(), {"root": "admin"}, {}, *flags) as running:
            yield running


def undo(page: Page, action: str) -> None:
    """Undoes the newest change of a kind, and returns to the models."""
    open_admin(page, "changes")
    row(page, action).first.get_by_role("button", name="Undo").click()
    dialog(page, f"Undo {action}?").get_by_role("button", name="Undo").click()
    noticed(page, "Undone")
    open_admin(page, "models")


def shares(page: Page) -> list[str]:
    """What the page shows of the canary `trial`."""
    cells = page.get_by_role("region", name="Table of canaries").locator("tbody tr td").first
    return [one.split("\n")[0] for one in cells.locator("div").all_inner_texts()]


def test_a_canary_is_made_edited_promoted_and_ended_and_each_is_undone(
    browser: Browser, versions: Site
) -> None:
    with versions.signed_in(browser, "root") as page:
        open_admin(page, "models")
        page.get_by_role("button", name="New canary").click()
        form = dialog(page, "New canary")
        form.get_by_label("Name that clients ask for").fill("trial")
        form.get_by_label("Stable model").select_option("chat@1")
        form.get_by_label("Model on trial", exact=True).select_option("chat@1")
        form.get_by_role("button", name="Create").click()
        expect(form.get_by_role("alert")).to_contain_text("choose different models")
        form.get_by_label("Model on trial", exact=True).select_option("chat@2")
        form.get_by_label("Share of the model on trial").fill("12.5")
        check_accessible(page)
        form.get_by_role("button", name="Create").click()
        noticed(page, "Created the canary")
        assert shares(page) == ["chat@1: 87.5 %", "chat@2: 12.5 %"]

        page.get_by_role("button", name="Edit the canary of trial").click()
        form = dialog(page, "Edit the canary of trial")
        form.get_by_label("Models and their shares").fill("chat@1 all")
        form.get_by_role("button", name="Save").click()
        expect(form.get_by_role("alert")).to_contain_text("'chat@1 all' is not a share")
        form.get_by_label("Models and their shares").fill("chat@1 50\nchat@2 50")
        form.get_by_label("Stays at one model").select_option("session")
        form.get_by_role("button", name="Save").click()
        noticed(page, "Saved the canary of trial")
        assert shares(page) == ["chat@1: 50 %", "chat@2: 50 %"]
        undo(page, "canaries.edit")
        assert shares(page) == ["chat@1: 87.5 %", "chat@2: 12.5 %"]

        page.get_by_role("button", name="Promote chat@2").click()
        asked = dialog(page, "Promote chat@2?")
        expect(asked.get_by_role("button", name="Cancel")).to_be_focused()
        asked.get_by_role("button", name="Promote").click()
        noticed(page, "chat@2 gets all requests")
        assert shares(page) == ["chat@2: 100 %"]
        undo(page, "canaries.promote")
        assert shares(page) == ["chat@1: 87.5 %", "chat@2: 12.5 %"]

        page.get_by_role("button", name="End the canary of trial").click()
        dialog(page, "End the canary of trial?").get_by_role("button", name="End").click()
        noticed(page, "The canary of trial has ended")
        expect(page.locator("#view")).to_contain_text("There are no canaries")
        undo(page, "canaries.delete")
        assert shares(page) == ["chat@1: 87.5 %", "chat@2: 12.5 %"]
        undo(page, "canaries.create")
        expect(page.locator("#view")).to_contain_text("There are no canaries")


def test_a_model_is_unloaded_and_loaded_again(browser: Browser, versions: Site) -> None:
    with versions.signed_in(browser, "root") as page:
        open_admin(page, "models")
        page.get_by_role("button", name="Unload chat", exact=True).click()
        dialog(page, "Unload chat?").get_by_role("button", name="Unload").click()
        noticed(page, "chat is unloaded.")
        page.get_by_role("button", name="Load chat", exact=True).click()
        noticed(page, "chat is loaded.")
        with versions.client("root") as http:
            done = [one["action"] for one in http.get("/admin/events?order=newest").json()["data"]]
            assert done[:2] == ["models.load", "models.unload"]


def test_the_form_of_a_canary_fits_a_telephone(browser: Browser, versions: Site) -> None:
    with versions.signed_in(browser, "root", viewport={"width": 360, "height": 740}) as page:
        open_admin(page, "models")
        page.get_by_role("button", name="New canary").click()
        dialog(page, "New canary")
        check_width(page)
        check_accessible(page)
