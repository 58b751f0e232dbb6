"""The pages of administrators in Chromium: each page, each action, and names that are markup."""

import re
import secrets

import httpx2
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from frontend.dashboard.admin.sections import SECTIONS
from tests.support.browser import check_accessible, check_width, needs_chromium
from tests.support.echo import script
from tests.support.processes import wait_for
from tests.support.site import Site, csrf, open_admin

pytestmark = needs_chromium
SCRIPT = "<img src=x onerror=alert(1)>"
FEW_ROWS = "document.querySelectorAll('#view tbody tr:nth-child(n+4)').forEach((r) => r.remove())"
NAMES = [page.name for _, pages in SECTIONS for page in pages]


def unique(prefix: str) -> str:
    """A name that no other test has."""
    return f"{prefix}-{secrets.token_hex(4)}"


def row(page: Page, text: str) -> Locator:
    return page.locator("#view tbody tr").filter(has_text=text)


def dialog(page: Page, title: str) -> Locator:
    """The dialog with this title, when it is there."""
    opened = page.get_by_role("dialog", name=title)
    expect(opened).to_be_visible()
    return opened


def settled(page: Page) -> None:
    """Waits until the list shows what its address says."""
    expect(page.locator("#view > section").first).to_have_attribute("aria-busy", "false")


def search(page: Page, text: str) -> None:
    page.get_by_role("searchbox", name="Search").first.fill(text)
    page.get_by_role("searchbox", name="Search").first.press("Enter")
    page.wait_for_url(re.compile("search="))
    settled(page)


def noticed(page: Page, text: str) -> None:
    expect(page.locator("#notice")).to_contain_text(text)


@pytest.mark.parametrize("half", [0, 1])
def test_every_page_is_accessible_and_fits_a_telephone(
    browser: Browser, site: Site, half: int
) -> None:
    with site.signed_in(browser, "root", viewport={"width": 360, "height": 740}) as page:
        for name in NAMES[half::2]:
            open_admin(page, name)
            # one theme for each half: what pages are made of is the same on all of them
            page.get_by_label("Theme").select_option(("light", "dark")[half])
            assert page.locator("nav.side [aria-current=page]").count() == 1
            check_width(page)
            # rows of a table are alike, and axe-core takes 20 ms for each
            page.evaluate(FEW_ROWS)
            check_accessible(page)


def test_a_user_is_created_found_edited_disabled_and_deleted_by_keyboard(
    browser: Browser, site: Site
) -> None:
    name = unique("ida")
    with site.signed_in(browser, "root") as page:
        open_admin(page, "users")
        page.get_by_role("button", name="New user").press("Enter")
        form = dialog(page, "New user")
        form.get_by_label("Name", exact=True).fill(name)
        form.get_by_label("Display name").fill(SCRIPT)
        check_accessible(page)
        form.get_by_label("Display name").press("Enter")
        made = dialog(page, f"New password of {name}")
        password = made.locator("pre").inner_text()
        check_accessible(page)
        made.get_by_role("button", name="Done").press("Enter")
        noticed(page, f"Created {name}")
        assert password not in page.content()
        with site.client("root") as http:
            (user,) = http.get(f"/admin/users?name={name}").json()["data"]
            key = {"user_id": user["id"], "name": SCRIPT}
            assert http.post("/admin/keys", json=key, headers=csrf(http)).status_code == 201

        search(page, name[4:])
        expect(page.locator("#view tbody tr")).to_have_count(1)
        expect(row(page, name)).to_contain_text(SCRIPT)
        assert page.locator("img[src=x]").count() == 0
        row(page, name).get_by_role("button", name=name, exact=True).press("Enter")
        shown = dialog(page, name)
        expect(shown).to_contain_text("Usage of the last 30 days")
        expect(shown).to_contain_text(SCRIPT)
        shown.get_by_role("button", name="Remove the second factor").press("Enter")
        asked = dialog(page, f"Remove the second factor of {name}?")
        asked.get_by_role("button", name="Remove the second factor").press("Enter")
        noticed(page, f"Removed the second factor of {name}")

        page.get_by_role("button", name=f"Edit {name}").press("Enter")
        form = dialog(page, f"Edit {name}")
        form.get_by_label("E-mail").fill("not an address@")
        form.get_by_label("Display name").fill("Ida")
        form.get_by_label("E-mail").fill(f"{name}@example.org")
        form.get_by_label("Role").select_option("staff")
        form.get_by_role("button", name="Save").press("Enter")
        noticed(page, f"Saved {name}")
        expect(row(page, name)).to_contain_text("staff")

        page.get_by_role("button", name=f"Disable {name}").press("Enter")
        expect(
            dialog(page, f"Disable {name}?").get_by_role("button", name="Cancel")
        ).to_be_focused()
        page.keyboard.press("Escape")
        expect(row(page, name)).to_contain_text("enabled")
        page.get_by_role("button", name=f"Disable {name}").press("Enter")
        dialog(page, f"Disable {name}?").get_by_role("button", name="Disable").press("Enter")
        expect(row(page, name)).to_contain_text("disabled")
        page.get_by_role("button", name=f"Enable {name}").press("Enter")
        noticed(page, f"Enabled {name}")

        page.get_by_role("button", name=f"Delete {name}").press("Enter")
        asked = dialog(page, f"Delete the user {name}?")
        expect(asked).to_contain_text(f"1 keys stop working: {SCRIPT}")
        check_accessible(page)
        asked.get_by_role("button", name="Delete the user").press("Enter")
        noticed(page, f"Deleted {name}")
        expect(page.locator("#view")).to_contain_text("Nothing matches these filters")


def test_a_cancelled_dialog_gives_the_focus_back_and_the_next_key_is_not_lost(
    browser: Browser, site: Site
) -> None:
    # within one turn of the browser's loop, as a fast key press may be
    reopened = """async (button) => {
      const dialog = document.getElementById("dialog");
      const shown = [];
      for (let round = 0; round < 3; round += 1) {
        button.focus();
        button.click();
        for (let turn = 0; turn < 20; turn += 1) await null;
        shown.push(dialog.open && dialog.querySelector("h2").textContent);
        [...dialog.querySelectorAll("button")].find((one) => one.textContent === "Cancel").click();
        for (let turn = 0; turn < 20; turn += 1) await null;
        shown.push(document.activeElement === button && button.ariaDisabled !== "true");
      }
      button.click();
      await new Promise((resolve) => setTimeout(resolve, 50));
      shown.push(dialog.querySelector("h2")?.textContent);
      return shown;
    }"""
    with site.signed_in(browser, "root") as page:
        open_admin(page, "users")
        search(page, "sue")
        button = page.get_by_role("button", name="Disable sue")
        title = "Disable sue?"
        assert button.evaluate(reopened) == [*[title, True] * 3, title]


def test_a_key_is_made_for_a_user_and_shown_once(browser: Browser, site: Site) -> None:
    name = unique("laptop")
    with site.signed_in(browser, "second") as page:
        open_admin(page, "keys")
        page.get_by_role("button", name="New key").click()
        form = dialog(page, "New key")
        form.get_by_label("User").fill("nobody at all")
        form.get_by_label("Name", exact=True).fill(name)
        form.get_by_role("button", name="Create").click()
        expect(form.get_by_role("alert")).to_contain_text("users do not include 'nobody at all'")
        form.get_by_label("User").fill("sue")
        expect(form.locator("option[value=sue]")).to_be_attached()
        form.get_by_label("Models").fill("echo, echo-*")
        form.get_by_label("Budget in tokens").fill("5000")
        form.get_by_role("button", name="Create").click()
        text = dialog(page, f"The key {name}").locator("pre").inner_text()
        page.get_by_role("button", name="Done").click()
        noticed(page, f"Created {name}")
        assert text not in page.content()
        bearer = {"authorization": f"Bearer {text}"}
        body = {"model": "echo", "messages": script(text="a b")}
        url = f"{site.url}/v1/chat/completions"
        assert httpx2.post(url, json=body, headers=bearer).status_code == 200

        search(page, name)
        expect(row(page, name)).to_contain_text("models: echo, echo-*")
        page.get_by_role("button", name=f"Rotate {name}").click()
        form = dialog(page, f"Rotate the key {name}")
        form.get_by_role("spinbutton").fill("0")
        form.get_by_role("button", name="Rotate").click()
        newer = dialog(page, f"New secret of {name}").locator("pre").inner_text()
        page.get_by_role("button", name="Done").click()
        noticed(page, f"Rotated {name}")
        assert newer != text
        page.get_by_role("button", name=f"Disable {name}").click()
        dialog(page, f"Disable the key {name}?").get_by_role("button", name="Disable").click()
        expect(row(page, name)).to_contain_text("disabled")
        page.get_by_role("button", name=f"Delete {name}").click()
        dialog(page, f"Delete the key {name}?").get_by_role("button", name="Delete").click()
        noticed(page, f"Deleted {name}")
        bearer["authorization"] = f"Bearer {newer}"
        assert httpx2.post(url, json=body, headers=bearer).status_code == 401


def test_groups_and_roles_are_made_edited_and_deleted(browser: Browser, site: Site) -> None:
    group, role = unique("physics"), unique("tutor")
    with site.signed_in(browser, "second") as page:
        open_admin(page, "groups")
        page.get_by_role("button", name="New group").click()
        form = dialog(page, "New group")
        form.get_by_label("Name", exact=True).fill(group)
        form.get_by_label("Weight").fill("3")
        form.get_by_label("The audit keeps").select_option("full")
        form.get_by_role("button", name="Create").click()
        noticed(page, f"Created {group}")
        expect(row(page, group)).to_contain_text("full")
        page.get_by_role("button", name=f"Edit {group}").click()
        form = dialog(page, f"Edit the group {group}")
        form.get_by_label("Weight").fill("5")
        form.get_by_role("button", name="Save").click()
        noticed(page, f"Saved {group}")
        page.get_by_role("button", name=f"Delete {group}").click()
        asked = dialog(page, f"Delete the group {group}?")
        expect(asked).to_contain_text("It has no users")
        asked.get_by_role("button", name="Delete the group").click()
        noticed(page, f"Deleted {group}")

        open_admin(page, "roles")
        page.get_by_role("button", name="New role").click()
        form = dialog(page, "New role")
        form.get_by_label("Name", exact=True).fill(role)
        form.get_by_label("usage").check()
        form.get_by_role("button", name="Create").click()
        noticed(page, f"Created {role}")
        expect(row(page, role)).to_contain_text("infer, self, usage")
        page.get_by_role("button", name=f"Delete {role}").click()
        dialog(page, f"Delete the role {role}?").get_by_role("button", name="Delete").click()
        noticed(page, f"Deleted {role}")


def test_limits_plans_credits_and_prices_are_set(browser: Browser, site: Site) -> None:
    plan, model = unique("plan"), unique("model")
    with site.signed_in(browser, "third") as page:
        open_admin(page, "quotas")
        page.get_by_role("button", name="New quota").click()
        form = dialog(page, "New quota")
        form.get_by_label("Name").fill("reviewer")
        form.get_by_label("Amount").fill("1234567")
        form.get_by_role("button", name="Create").click()
        noticed(page, "Created the quota")
        mine = row(page, "1,234,567 tokens per month")
        expect(mine).to_contain_text("reviewer")
        mine.get_by_role("button", name="Edit").click()
        form = dialog(page, "Edit: 1,234,567 tokens per month")
        form.get_by_label("Amount").fill("7654321")
        form.get_by_role("button", name="Save").click()
        mine = row(page, "7,654,321 tokens per month")
        mine.get_by_role("button", name="Reset").click()
        dialog(page, "Reset: 7,654,321").get_by_role("button", name="Reset").click()
        noticed(page, "Reset the quota")
        mine.get_by_role("button", name="Delete").click()
        dialog(page, "Delete: 7,654,321").get_by_role("button", name="Delete").click()
        noticed(page, "Deleted the quota")

        open_admin(page, "plans")
        page.get_by_role("button", name="New plan").click()
        form = dialog(page, "New plan")
        form.get_by_label("Name").fill(plan)
        form.get_by_label("Limits").fill("many tokens")
        form.get_by_role("button", name="Create").click()
        expect(form.get_by_role("alert")).to_contain_text("is not a limit")
        form.get_by_label("Limits").fill("1000 tokens day\n10 requests minute")
        form.get_by_role("button", name="Create").click()
        noticed(page, f"Created {plan}")
        expect(row(page, plan)).to_contain_text("1,000 tokens per day")
        page.get_by_role("button", name="Assign a plan").click()
        form = dialog(page, "Assign a plan")
        form.get_by_label("Name").fill("watcher")
        form.get_by_label("Plan").select_option(label=plan)
        form.get_by_role("button", name="Give").click()
        noticed(page, "Assigned the plan")
        expect(row(page, "watcher")).to_contain_text(plan)
        row(page, "watcher").get_by_role("button", name="End").click()
        dialog(page, "End this subscription?").get_by_role("button", name="End").click()
        noticed(page, "Ended the subscription")

        open_admin(page, "credits")
        page.get_by_role("button", name="Grant credits").click()
        form = dialog(page, "Grant credits")
        form.get_by_label("Name").fill("watcher")
        form.get_by_label("Credits").fill("12.5")
        form.get_by_label("Reason").fill(SCRIPT)
        form.get_by_role("button", name="Grant").click()
        noticed(page, "Granted 12.5 credits")
        expect(row(page, SCRIPT)).to_contain_text("watcher")
        expect(page.locator("#view")).to_contain_text("Available12.5 credits")

        open_admin(page, "prices")
        page.get_by_role("button", name="New price").click()
        form = dialog(page, "New price")
        form.get_by_label("Model").fill(model)
        form.get_by_label("Per million prompt tokens").fill("0.000125")
        form.get_by_role("button", name="Create").click()
        noticed(page, "Created the price")
        expect(row(page, model)).to_contain_text("0.000125")
        row(page, model).get_by_role("button", name="Delete").click()
        dialog(page, f"Delete this price of {model}?").get_by_role("button", name="Delete").click()
        noticed(page, "Deleted the price")


def test_requests_are_approved_and_refused(browser: Browser, site: Site) -> None:
    carol, dave = unique("carol"), unique("dave")
    keys = {}
    for name in (carol, dave):
        asked = {"name": name, "email": f"{name}@example.org", "reason": SCRIPT}
        keys[name] = httpx2.post(f"{site.url}/key-requests", json=asked).json()["key"]
    with site.client("sue") as http:
        more = {"amount": 777_000, "reason": SCRIPT}
        assert http.post("/me/quota-requests", json=more, headers=csrf(http)).status_code == 201
    with site.signed_in(browser, "third") as page:
        open_admin(page, "users")
        # other tests may have requests of their own
        waiting = page.locator(".side").get_by_role("link", name="Requests").locator(".badge")
        assert int(waiting.inner_text()) >= 3
        check_accessible(page)
        open_admin(page, "requests")
        expect(row(page, carol)).to_contain_text(SCRIPT)
        page.get_by_role("button", name=f"Approve {carol}").click()
        form = dialog(page, f"Approve the request of {carol}")
        form.get_by_label("Models").fill("echo")
        form.get_by_role("button", name="Approve").click()
        expect(row(page, carol)).to_contain_text("approved")
        bearer = {"authorization": f"Bearer {keys[carol]}"}
        assert httpx2.get(f"{site.url}/me", headers=bearer).json()["name"] == carol
        page.get_by_role("button", name=f"Refuse {dave}").click()
        form = dialog(page, f"Refuse the request of {dave}")
        form.get_by_label("Reason").fill("no more room")
        form.get_by_role("button", name="Refuse").click()
        expect(row(page, dave)).to_contain_text("no more room")
        row(page, "777,000 tokens").get_by_role("button", name="Approve").click()
        form = dialog(page, "Approve the request")
        form.get_by_label("Amount").fill("700000")
        form.get_by_role("button", name="Approve").click()
        noticed(page, "Approved the request")
        assert page.locator("img[src=x]").count() == 0
        check_accessible(page)
    with site.signed_in(browser, "sue") as page:
        page.goto("/dashboard")
        told = page.locator("#decisions p").filter(has_text="777,000 tokens per month")
        expect(told).to_contain_text("was approved")
        check_accessible(page)
        told.get_by_role("button", name="Hide the decision on 777,000 tokens per month").click()
        expect(told).to_have_count(0)
        page.reload()
        expect(page.locator("#account")).to_have_attribute("data-ready", "true")
        expect(told).to_have_count(0)


def test_an_upstream_is_registered_drained_and_deleted(browser: Browser, site: Site) -> None:
    name = unique("rack")
    with site.signed_in(browser, "second") as page:
        open_admin(page, "upstreams")
        expect(row(page, "from the settings")).to_contain_text("ready")
        page.get_by_role("button", name="Register an upstream").click()
        form = dialog(page, "Register an upstream")
        form.get_by_label("Name").fill(name)
        form.get_by_label("Address").fill("127.0.0.1:9")
        form.get_by_role("button", name="Register").click()
        noticed(page, f"Registered {name}")
        mine = row(page, name)
        expect(mine).to_contain_text("unreachable")
        mine.get_by_role("button", name=f"Edit {name}").click()
        form = dialog(page, f"Edit {name}")
        form.get_by_label("Priority").fill("7")
        form.get_by_label("Labels").fill("trust high")
        form.get_by_role("button", name="Save").click()
        expect(form.get_by_role("alert")).to_contain_text("'trust high' is not a label")
        form.get_by_label("Labels").fill("trust=high\nzone=north")
        form.get_by_role("button", name="Save").click()
        noticed(page, f"Saved {name}")
        mine.get_by_role("button", name=f"Edit {name}").click()
        form = dialog(page, f"Edit {name}")
        expect(form.get_by_label("Labels")).to_have_value("trust=high\nzone=north")
        form.get_by_label("Labels").fill("trust=low")
        form.get_by_label("Prompts that are sent there leave the site").check()
        form.get_by_role("button", name="Save").click()
        noticed(page, f"Saved {name}")
        with site.client("second") as http:
            (stored,) = [
                one for one in http.get("/admin/backends").json()["data"] if one["name"] == name
            ]
            assert stored["labels"] == {"site": "cloud", "trust": "low"}
            assert stored["priority"] == 7
        mine.get_by_role("button", name=f"Drain {name}").click()
        expect(mine).to_contain_text("draining")
        mine.get_by_role("button", name=f"Enable {name}").click()
        noticed(page, f"Enabled {name}")
        mine.get_by_role("button", name=f"Refresh {name}").click()
        noticed(page, f"Connected again to {name}")
        mine.get_by_role("button", name=name, exact=True).click()
        shown = dialog(page, name)
        expect(shown).to_contain_text("127.0.0.1:9")
        expect(shown).to_contain_text("nothing answers at its address")
        shown.press("Escape")
        mine.get_by_role("button", name=f"Disable {name}").click()
        dialog(page, f"Disable {name}?").get_by_role("button", name="Disable").click()
        expect(mine).to_contain_text("disabled")
        mine.get_by_role("button", name=f"Delete {name}").click()
        dialog(page, f"Delete {name}?").get_by_role("button", name="Delete").click()
        noticed(page, f"Deleted {name}")


def test_models_are_shown_with_their_upstreams(browser: Browser, site: Site) -> None:
    with site.signed_in(browser, "second") as page:
        open_admin(page, "models")
        row(page, "echo-embedding").get_by_role("button", name="echo-embedding", exact=True).click()
        shown = dialog(page, "echo-embedding")
        expect(shown).to_contain_text("triton")
        expect(shown).to_contain_text("version 1")
        check_accessible(page)
        shown.press("Escape")
        page.get_by_role("button", name="Unload echo-embedding").click()
        asked = dialog(page, "Unload echo-embedding?")
        expect(asked).to_contain_text("requests for it are refused")
        asked.get_by_role("button", name="Cancel").click()
        expect(row(page, "echo-embedding")).to_contain_text("loaded")


def test_shares_of_canaries_are_shown_as_text(browser: Browser, site: Site) -> None:
    evil = "<img src=x onerror=alert(1)>"
    target = {"model": evil, "percent": 10, "stable": False, "withdrawn_at": 1, "reason": evil,
              "requests": 40, "error_percent": 12.5, "first_token_ms": 81.2}  # fmt: skip
    stable = {**target, "model": "echo", "percent": 90, "stable": True, "withdrawn_at": None,
              "requests": 1, "first_token_ms": None, "error_percent": 0.0}  # fmt: skip
    one = {"id": "c1", "model": evil, "targets": [stable, target], "sticky": "user"}
    found = {"object": "list", "data": [one], "has_more": False, "next_after": None}
    with site.signed_in(browser, "second") as page:
        page.route("**/admin/canaries?*", lambda route: route.fulfill(json=found))
        open_admin(page, "models")
        table = page.get_by_role("region", name="Table of canaries")
        expect(table).to_contain_text("echo: 90 %")
        expect(table).to_contain_text("1 request, 0 % failed")
        expect(table).to_contain_text(f"{evil}: 10 %")
        expect(table).to_contain_text("40 requests, 12.5 % failed")
        expect(table).to_contain_text("first token after 81 ms")
        expect(table.get_by_role("button", name="Promote echo")).to_be_visible()
        assert page.locator("img[src=x]").count() == 0
        check_accessible(page)


def test_the_cache_is_shown_and_emptied(browser: Browser, site: Site) -> None:
    with site.signed_in(browser, "second") as page:
        open_admin(page, "cache")
        expect(page.locator("#view")).to_contain_text("Sent again")
        page.get_by_role("button", name="Empty the cache").click()
        form = dialog(page, "Empty the cache?")
        expect(form).to_contain_text("cannot be undone")
        form.get_by_role("button", name="Delete the answers").click()
        noticed(page, "Deleted 0 answers")


def test_a_record_is_found_and_its_texts_are_only_text(browser: Browser, site: Site) -> None:
    word = unique("needle").replace("-", "")
    with site.client("sue") as http:
        body = {"model": "echo", "messages": script(text=f"{word} {SCRIPT}")}
        assert http.post("/v1/chat/completions", json=body, headers=csrf(http)).status_code == 200
    with site.signed_in(browser, "root") as page:

        def has_record() -> bool:
            found = (
                f"async () => (await (await fetch('/admin/audit/search?text={word}')).json()).data"
            )
            return len(page.evaluate(found)) == 1

        open_admin(page, "audit")
        wait_for(has_record, what="the audit record")
        page.get_by_label("Words in the texts").fill(word)
        page.get_by_label("Status").fill("2xx")
        page.get_by_label("Status").press("Enter")
        page.wait_for_url(re.compile("status="))
        settled(page)
        expect(page.locator("#view tbody tr")).to_have_count(1)
        expect(page.get_by_role("link", name="CSV")).to_have_attribute(
            "href", re.compile(f"text={word}.*format=csv")
        )
        page.get_by_role("button", name=re.compile("^Record ")).click()
        shown = dialog(page, "Record")
        expect(shown).to_contain_text(SCRIPT)
        expect(shown).to_contain_text("sue")
        assert page.locator("img[src=x]").count() == 0
        check_accessible(page)
        shown.press("Escape")
        page.reload()  # the filters are in the address
        expect(page.locator("#view tbody tr")).to_have_count(1)


def test_a_change_is_shown_and_undone(browser: Browser, site: Site) -> None:
    with site.client("third") as http:
        path = f"/admin/users/{site.ids['changed']}"
        for body in ({"display_name": SCRIPT}, {"disabled": True}):
            assert http.patch(path, json=body, headers=csrf(http)).status_code == 200
    with site.signed_in(browser, "third") as page:
        open_admin(page, "changes")
        page.get_by_label("Id of what was changed").fill(site.ids["changed"])
        page.get_by_label("Id of what was changed").press("Enter")
        page.wait_for_url(re.compile("target_id="))
        settled(page)
        newest = row(page, "disabled: true")
        newest.get_by_role("button", name=re.compile("^users.edit,")).click()
        shown = dialog(page, "users.edit")
        expect(shown).to_contain_text("disabled_at_us")
        check_accessible(page)
        shown.press("Escape")
        newest.get_by_role("button", name="Undo").click()
        asked = dialog(page, "Undo users.edit?")
        expect(asked).to_contain_text("disabled: true becomes false")
        asked.get_by_role("button", name="Undo").click()
        noticed(page, "Undone")
        row(page, SCRIPT).first.get_by_role("button", name="Undo").click()
        asked = dialog(page, "Undo users.edit?")
        expect(asked).not_to_contain_text("changed again")
        asked.get_by_role("button", name="Undo").click()
        noticed(page, "Undone")
        assert page.locator("img[src=x]").count() == 0
    with site.client("third") as http:
        now = http.get(path).json()
        assert (now["display_name"], now["disabled"]) == ("", False)


def test_settings_are_in_force_and_without_secrets(browser: Browser, site: Site) -> None:
    with site.client("watcher") as http:
        shown = {one["id"]: one["value"] for one in http.get("/admin/settings").json()["data"]}
        assert (shown["database_url"], shown["redis_url"]) == ("(set)", None)
    with site.signed_in(browser, "watcher") as page:
        open_admin(page, "settings")
        expect(row(page, "TRITON_FRONTEND_DATABASE_URL")).to_contain_text("set")
        page.get_by_label("Only changed settings").check()
        expect(row(page, "TRITON_FRONTEND_AUDIT")).to_contain_text("default: metadata")
        page.get_by_role("searchbox", name="Search").fill("not a setting")
        expect(page.locator("#view")).to_contain_text("No setting matches")


def test_lists_have_pages_and_go_back(browser: Browser, site: Site) -> None:
    with site.client("root") as http:
        for at in range(51):
            body = {"name": f"many-{at:03}"}
            assert (
                http.post("/admin/organisations", json=body, headers=csrf(http)).status_code == 201
            )
        page_of = http.get("/admin/organisations?search=MANY-0&limit=200").json()
        assert len(page_of["data"]) == 51
    with site.signed_in(browser, "root") as page:
        open_admin(page, "groups")
        section = page.locator("section").filter(
            has=page.get_by_role("heading", name="Organisations")
        )
        rows = section.locator("tbody tr")
        expect(rows).to_have_count(50)
        section.get_by_role("button", name="Next page").click()
        expect(section.get_by_role("button", name="First page")).to_be_visible()
        assert rows.count() < 50
        section.get_by_role("button", name="Previous page").click()
        expect(rows).to_have_count(50)


def test_the_api_and_not_the_page_decides(site: Site) -> None:
    target = f"/admin/users/{site.ids['second']}"
    with site.client("root") as http, site.client("sue") as other, site.client("watcher") as some:
        for headers in ({}, {"x-csrf-token": "0" * 64}, csrf(other)):
            assert http.patch(target, json={"disabled": True}, headers=headers).status_code == 403
        for who in (other, some):
            assert who.patch(target, json={"disabled": True}, headers=csrf(who)).status_code == 403
            assert who.get("/admin/events").status_code == 403
        assert other.get("/admin/settings").status_code == 403
        assert http.get(target).json()["disabled"] is False


def test_page_views_are_in_the_audit_only_where_they_were_refused(site: Site) -> None:
    with site.client("onlooker") as http, site.client("root") as reviewer:
        query = f"/admin/audit/search?user_id={site.ids['onlooker']}&limit=200"
        earlier = {one["id"] for one in reviewer.get(query).json()["data"]}
        for path in ("/dashboard", "/me/audit", "/me/keys", "/me"):
            assert http.get(path).status_code == 200
        assert http.get("/admin/users/nobody").status_code == 403
        assert http.delete("/me/keys/nothing", headers=csrf(http)).status_code == 404

        def added() -> set[tuple[str, str, int]]:
            rows = reviewer.get(query).json()["data"]
            return {(r["method"], r["route"], r["status"]) for r in rows if r["id"] not in earlier}

        expected = {("GET", "/admin/users/{id}", 403), ("DELETE", "/me/keys/{id}", 404)}
        # records are written in the order of the requests' ends
        wait_for(lambda: len(added()) >= 2, what="the records of what was refused")
        assert added() == expected
        # whose texts a reviewer looked at stays on record
        query = f"/admin/audit/search?user_id={site.ids['root']}&limit=1"
        wait_for(
            lambda: reviewer.get(query).json()["data"][0]["route"] == "/admin/audit/search",
            what="the record of a search",
        )
