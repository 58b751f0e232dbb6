// What the sections of the account page are made of. Text is always set as text.
import { call } from "../playground/api.js";
import { byId, element, fail } from "../playground/dom.js";

export const count = (value) => value.toLocaleString("en-US");
export const counted = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
export const empty = (text) => element("p", { className: "quiet", textContent: text });

export function moment(seconds, never = "never") {
  if (!seconds) return never;
  const date = new Date(seconds * 1000);
  const text = date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  return element("time", { dateTime: date.toISOString(), textContent: text, title: `${date.toLocaleString()} ${zone}` });
}

// heads: texts, or {text, number: true}
export function table(label, heads, rows) {
  const all = heads.map((head) => (typeof head === "string" ? { text: head } : head));
  const kind = (at) => (all[at].number ? "number" : "");
  const head = element("tr", {}, ...all.map((one, at) => element("th", { scope: "col", textContent: one.text, className: kind(at) })));
  const body = rows.map((row) => element("tr", {}, ...row.map((cell, at) => {
    const made = element(at ? "td" : "th", { className: kind(at) }, cell);
    if (!at) made.scope = "row";
    made.dataset.head = all[at].text; // shown beside it where the table is narrow
    return made;
  })));
  const made = element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
  const box = element("div", { className: "wide stack", tabIndex: 0 }, made);
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", label);
  return box;
}

// Whether the user goes on with what the text says.
export function confirmed(text) {
  const dialog = byId("confirm");
  byId("confirm-text").textContent = text;
  dialog.showModal();
  return new Promise((resolve) => {
    // at once: the event of closing comes later, maybe when the dialog is open for something else
    const answer = (yes) => (event) => {
      event.preventDefault();
      if (dialog.open) dialog.close();
      resolve(yes);
    };
    const [no, yes] = dialog.querySelectorAll("button");
    no.onclick = answer(false);
    yes.onclick = answer(true);
    dialog.oncancel = answer(false);
    dialog.onclose = () => dialog.open || resolve(false);
  });
}

export function action(name, label, run) {
  const button = element("button", { type: "button", textContent: name });
  button.setAttribute("aria-label", `${name} ${label}`);
  button.addEventListener("click", async () => {
    if (button.ariaDisabled === "true") return;
    fail(null);
    // not `disabled`: the button would lose the focus, which a dialog gives back to it
    button.ariaDisabled = "true";
    try {
      await run();
    } catch (error) {
      fail(error);
    } finally {
      button.ariaDisabled = "false";
    }
  });
  return button;
}

// All rows of a list, at most `most` of them; `totals` is the first page's.
export async function pages(path, most = 2000) {
  const rows = [];
  let after = "";
  let totals = null;
  do {
    const page = await call("GET", `${path}${path.includes("?") ? "&" : "?"}limit=200${after}`);
    rows.push(...page.data);
    totals ??= page.totals;
    after = page.has_more ? `&after=${encodeURIComponent(page.next_after)}` : "";
  } while (after && rows.length < most);
  return { rows, totals, cut: Boolean(after) };
}

export const words = (text) => text.split(",").map((one) => one.trim()).filter(Boolean);
