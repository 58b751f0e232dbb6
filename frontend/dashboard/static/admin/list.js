// A list of the API: its filters, one page at a time, and what can be done with an entry. Filters
// and the page are in the address, so that a list can be linked to and the browser goes back.
import { byId, button, call, element, empty, fail, note, quiet, ready, table } from "./ui.js";
import { names } from "./names.js";

const SIZE = 50;

// {label, path, heads, row(one, of), filters, fixed, lookups: {users: (one) => id}, none, actions(one, again)}
export function list(options) {
  const prefix = options.prefix ?? "";
  const place = element("section");
  const rows = element("div");
  const pager = element("div", { className: "pager" });
  const key = (name) => `${prefix}${name}`;
  const given = () => new URLSearchParams(location.search);
  const filters = options.filters ?? [];
  let asked = 0;

  function query() {
    const values = new URLSearchParams(options.fixed ?? {});
    const search = given();
    for (const one of filters) if (search.get(key(one.name))) values.set(one.name, search.get(key(one.name)));
    if (search.get(key("after"))) values.set("after", search.get(key("after")));
    values.set("limit", SIZE);
    return values;
  }

  function go(changes, replace = false) {
    const search = given();
    for (const [name, value] of Object.entries(changes)) {
      if (value) search.set(key(name), value);
      else search.delete(key(name));
    }
    const address = `${location.pathname}${search.size ? `?${search}` : ""}`;
    history[replace ? "replaceState" : "pushState"]({}, "", address);
    return load();
  }

  async function load() {
    const mine = (asked += 1);
    place.setAttribute("aria-busy", "true");
    try {
      const page = await call("GET", `${options.path}?${query()}`);
      const lookups = Object.entries(options.lookups ?? {});
      const of = Object.fromEntries(await Promise.all(lookups.map(async ([kind, id]) => [kind, await names(kind, page.data.map(id))])));
      if (mine !== asked) return; // another page was asked for meanwhile
      draw(page, of);
      place.setAttribute("aria-busy", "false");
    } catch (error) {
      if (mine === asked) fail(error);
    }
  }

  function draw(page, of) {
    const filtered = filters.some((one) => given().get(key(one.name)) && !one.always);
    if (!page.data.length) {
      const more = filtered ? [button("Show all", () => { place.querySelector("form")?.reset(); return clear(); })] : [];
      rows.replaceChildren(empty(filtered ? "Nothing matches these filters." : options.none, ...more));
    } else {
      const heads = options.actions ? [...options.heads, { text: "Actions", name: "actions" }] : options.heads;
      const cells = page.data.map((one) => {
        const shown = options.row(one, of);
        return options.actions ? [...shown, options.actions(one, again)] : shown;
      });
      rows.replaceChildren(table(options.label, heads, cells));
    }
    const after = given().get(key("after"));
    const buttons = [];
    if (after) buttons.push(button("First page", () => go({ after: null })), button("Previous page", () => history.back()));
    if (page.has_more) buttons.push(button("Next page", () => go({ after: page.next_after })));
    pager.replaceChildren(...buttons);
    if (page.data.length > 1 || buttons.length) pager.append(quiet(`${page.data.length} shown${page.has_more ? ", there are more" : ""}`));
    options.loaded?.(page);
  }

  const clear = () => go(Object.fromEntries([...filters.map((one) => [one.name, null]), ["after", null]]));

  // After a change: the same page again, with what was done.
  async function again(text = "") {
    await load();
    if (text) note(text);
  }

  function form() {
    const made = element("form", { className: "filters" });
    made.setAttribute("role", "search");
    made.setAttribute("aria-label", `Filters: ${options.label}`);
    const inputs = filters.map((one) => {
      const value = given().get(key(one.name)) ?? "";
      if (one.options) {
        const choices = one.options.map(([id, text]) => element("option", { value: id, textContent: text, selected: id === value }));
        return [one, element("select", { name: one.name }, ...choices)];
      }
      const made = element("input", { name: one.name, type: one.type ?? "search", value, maxLength: 200 });
      if (one.placeholder) made.placeholder = one.placeholder;
      return [one, made];
    });
    const apply = () => go({ ...Object.fromEntries(inputs.map(([one, field]) => [one.name, field.value.trim()])), after: null });
    for (const [one, field] of inputs) {
      made.append(element("label", {}, one.label, field));
      if (one.options) field.addEventListener("change", apply);
    }
    made.append(element("button", { type: "submit", textContent: "Search" }));
    made.addEventListener("submit", (event) => {
      event.preventDefault();
      apply();
    });
    addEventListener("popstate", () => inputs.forEach(([one, field]) => { field.value = given().get(key(one.name)) ?? ""; }));
    return made;
  }

  if (options.title) place.append(element("h2", { textContent: options.title }));
  if (options.buttons) place.append(element("div", { className: "row" }, ...options.buttons(again)));
  if (filters.length) place.append(form());
  place.append(rows, pager);
  addEventListener("popstate", load);
  return { place, again, load, go, query };
}

// Shows lists as the page's content, and says when all of them have their first page.
export async function show(...made) {
  byId("view").replaceChildren(...made.map((one) => one.place));
  await Promise.all(made.map((one) => one.load()));
  ready();
}

export const tool = (text, run, tone = "main") => byId("tools").append(Object.assign(button(text, run), { className: tone }));
