// What every page for administrators is made of. Text is always set as text: names are not markup.
import { call } from "../playground/api.js";
import { byId, element, sentence } from "../playground/dom.js";

export { byId, call, element, sentence };

const rights = new Set((byId("admin").dataset.rights ?? "").split(" "));
// where the list of pages scrolls, on a narrow screen
document.querySelector(".side [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
export const may = (permission) => rights.has(permission);
export const me = byId("admin").dataset.user;

export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
export const count = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en-US"));
export const code = (text) => element("code", { textContent: text });
export const quiet = (text) => element("small", { textContent: text });

// A moment in the viewer's zone; the exact one, with the zone, on pointing at it.
export function moment(seconds, never = "never") {
  if (seconds === null || seconds === undefined) return never;
  const date = new Date(seconds * 1000);
  const text = date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  return element("time", { dateTime: date.toISOString(), textContent: text, title: `${date.toLocaleString()} ${zone}` });
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  let size = value;
  for (; size >= 1024 && at < units.length - 1; at += 1) size /= 1024;
  return `${at ? size.toFixed(1) : size} ${units[at]}`;
}

const TONES = { ready: "good", enabled: "good", approved: "good", healthy: "good", draining: "warn", pending: "warn", warning: "warn", starting: "warn", loading: "warn", unreachable: "bad", failed: "bad", refused: "bad", disabled: "bad", expired: "bad", critical: "bad" };
export const badge = (text, tone = TONES[text] ?? "") => element("span", { className: `badge ${tone}`, textContent: text });

export const empty = (text, ...more) => element("div", { className: "empty" }, element("p", { textContent: text }), ...more);

// heads: texts, or {text, number: true}; rows: lists of what their cells contain.
export function table(label, heads, rows) {
  const all = heads.map((head) => (typeof head === "string" ? { text: head } : head));
  const head = element("tr", {}, ...all.map((one) => element("th", { scope: "col", textContent: one.text, className: one.name ?? (one.number ? "number" : "") })));
  const body = rows.map((row) =>
    element("tr", {}, ...row.map((cell, at) => {
      const first = at === 0;
      const made = element(first ? "th" : "td", { className: all[at].name ?? (all[at].number ? "number" : "") });
      if (first) made.scope = "row";
      made.dataset.head = all[at].text; // shown beside it where the table is narrow
      made.append(...(Array.isArray(cell) ? cell : [cell]));
      return made;
    })),
  );
  const box = element("div", { className: "wide stack", tabIndex: 0 }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)));
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", label);
  return box;
}

export function facts(pairs) {
  const list = element("dl", { className: "facts" });
  for (const [name, value] of pairs) {
    list.append(element("dt", { textContent: name }), element("dd", {}, ...(Array.isArray(value) ? value : [value ?? "–"])));
  }
  return list;
}

export function fail(error) {
  const place = byId("problem");
  place.hidden = !error;
  place.textContent = error ? sentence(error.message) : "";
  if (error?.status === 401) {
    place.textContent = "Your session has ended. ";
    place.append(element("a", { href: `/login?next=${encodeURIComponent(location.pathname + location.search)}`, textContent: "Sign in again" }));
  }
}

export function note(text) {
  const place = byId("notice");
  place.hidden = !text;
  place.textContent = text;
}

// A button whose action runs once at a time, and whose failure is shown.
export function button(name, run, { label = name, tone = "" } = {}) {
  const made = element("button", { type: "button", textContent: name, className: tone });
  if (label !== name) made.setAttribute("aria-label", label);
  made.addEventListener("click", async () => {
    if (made.ariaDisabled === "true") return;
    fail(null);
    note("");
    // not `disabled`: the button would lose the focus, which a dialog gives back to it
    made.ariaDisabled = "true";
    try {
      await run();
    } catch (error) {
      fail(error);
    } finally {
      made.ariaDisabled = "false";
    }
  });
  return made;
}

// The page shows its data: tests and screen readers wait for it.
export function ready() {
  byId("view").setAttribute("aria-busy", "false");
  byId("view").dataset.ready = "true";
}
