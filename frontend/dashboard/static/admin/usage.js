// Usage of all users. Sums are those of the API: what is largest, each of these by time, and all rows.
import { byId, button, call, code, element, empty, fail, may, quiet, ready, table, zone } from "./ui.js";
import { list } from "./list.js";
import { names } from "./names.js";
import { resolve } from "./forms.js";
import { SERIES, chart } from "../account/chart.js";
import { counted, pages } from "../account/parts.js";
import { HEADS, MEASURES, days, download, numbers, range, sums, when } from "../account/report.js";

const path = "/admin/usage";
const KINDS = { user_id: "users", key_id: "keys", group_id: "groups", organisation_id: "organisations" };
const TITLES = { user_id: "user", model: "model", key_id: "key", group_id: "group", organisation_id: "organisation" };
const CHOICES = {
  interval: ["Interval", [["day", "day"], ["hour", "hour"], ["month", "month"]]],
  by: ["Split by", Object.entries(TITLES)],
  measure: ["Show", Object.keys(MEASURES).map((name) => [name, name])],
};
const OWNERS = { user_id: "User", group_id: "Group", key_id: "Key's id", model: "Model" };
const FIRST = 50;

const given = () => new URLSearchParams(location.search);
const chosen = (name) => given().get(name) || CHOICES[name][1][0][0];
const totals = element("p", { id: "totals" });
const largest = element("div", { id: "largest" });
const csv = element("a", { textContent: "Export as CSV", download: "usage.csv" });
let newest = 0;

// The name of what a row is of: text, or an element that shows the id beside it.
function title(id, by, of) {
  if (by === "model") return id ? code(id) : "–";
  return id ? of(id) : by === "key_id" ? "without a key: signed in" : "–";
}

// The filters of the address, as the API has them: names of users and groups as ids.
async function filters() {
  const search = given();
  const { from, to } = days(search);
  const asked = { tz: zone, ...range(from, to) };
  for (const name of Object.keys(OWNERS)) {
    const value = search.get(name);
    if (value) asked[name] = ["user_id", "group_id"].includes(name) && may(KINDS[name]) ? await resolve(KINDS[name], value) : value;
  }
  return asked;
}

const query = (values) => `${path}?${new URLSearchParams(values)}`;

// What is drawn: the first groups by time, and what is left of all.
async function series(asked, first, by, names_) {
  const [interval, measure] = [chosen("interval"), MEASURES[chosen("measure")]];
  const lines = async (more) => (await pages(query({ ...asked, interval, by: "", ...more }), 9000)).rows;
  const [all, ...each] = await Promise.all([lines({}), ...first.map((row) => lines({ [by]: row[by] }))]);
  const starts = all.map((row) => row.start);
  const made = each.map((rows, at) => {
    const values = new Map(rows.map((row) => [row.start, measure(row)]));
    return { name: names_[at], values: starts.map((start) => values.get(start) ?? 0) };
  });
  return { labels: starts.map((start) => when(start, interval)), all: all.map(measure), made };
}

async function draw(asked, page, by, of) {
  const [interval, measure] = [chosen("interval"), chosen("measure")];
  const first = page.data.slice(0, page.data.length === SERIES ? SERIES : SERIES - 1);
  const text = (row) => element("span", {}, title(row[by], by, of)).textContent;
  const { labels, all, made } = await series(asked, first, by, first.map(text));
  if (page.has_more || page.data.length > first.length) {
    const values = all.map((value, at) => Math.max(0, made.reduce((rest, one) => rest - one.values[at], value)));
    made.push({ name: "others", values });
  }
  const heading = `${measure} of ${counted(page.totals.requests, "request")} by ${interval}, split by ${TITLES[by]}`;
  return chart({ title: heading, unit: measure, labels, series: made, width: byId("view").clientWidth });
}

// A name that leads to the usage of what has it.
function link(row, by, of) {
  const search = given();
  const shown = title(row[by], by, of);
  search.set(by, by === "user_id" ? shown.textContent : row[by]);
  search.set("by", by === "model" ? "user_id" : "model");
  return OWNERS[by] && row[by] ? element("a", { href: `?${search}` }, shown) : shown;
}

function sumsOf(page, by, of) {
  const rows = page.data.map((row) => [link(row, by, of), ...numbers(sums(row))]);
  const all = sums(page.totals);
  if (page.has_more) {
    const rest = page.data.reduce((left, row) => left.map((value, at) => value - sums(row)[at]), all);
    rows.push([`Others, below the first ${FIRST}`, ...numbers(rest)]);
  }
  if (rows.length > 1) rows.push(["All", ...numbers(all)]);
  const name = TITLES[by];
  return table("Table of usage", [name[0].toUpperCase() + name.slice(1), ...HEADS], rows);
}

async function showLargest(asked) {
  const mine = (newest += 1);
  const by = chosen("by");
  const page = await call("GET", query({ ...asked, interval: "total", by, order: chosen("measure"), limit: FIRST }));
  const of = KINDS[by] ? await names(KINDS[by], page.data.map((row) => row[by])) : () => "";
  if (mine !== newest) return; // a later choice is on its way
  const { requests, failures, prompt_tokens: read, completion_tokens: written, credits } = page.totals;
  totals.dataset.tokens = read + written;
  totals.replaceChildren(
    [counted(requests, "request"), counted(failures, "failure"), counted(read, "prompt token"), counted(written, "completion token"), `${numbers([credits])[0]} credits`].join(", "),
    quiet(`; days of ${zone}`),
  );
  if (!page.data.length) {
    largest.replaceChildren(empty("There are no requests in this range with these filters. Usage is written when a request has ended."));
    return;
  }
  const place = element("div", { className: "place" });
  largest.replaceChildren(place, sumsOf(page, by, of));
  // the table says the same and does not wait for the picture
  const drawn = draw(asked, page, by, of).catch((error) => empty(`The chart cannot be drawn: ${error.message}`));
  drawn.then((picture) => place.replaceWith(picture));
}

const fixed = {};
const rows = list({
  label: "Table of usage by time, user, key and model",
  title: "Every row",
  prefix: "row-",
  path,
  fixed,
  heads: ["Time", "User", "Key", "Model", ...HEADS],
  lookups: { users: (one) => one.user_id, keys: (one) => one.key_id },
  none: "There are no requests in this range with these filters.",
  row: (one, of) => [when(one.start, chosen("interval")), title(one.user_id, "user_id", of.users), title(one.key_id, "key_id", of.keys), title(one.model, "model"), ...numbers(sums(one))],
});

async function load() {
  byId("view").setAttribute("aria-busy", "true");
  fail(null);
  try {
    const asked = await filters();
    for (const name of Object.keys(fixed)) delete fixed[name];
    Object.assign(fixed, asked, { interval: chosen("interval"), by: "user_id,key_id,model" });
    csv.href = query({ ...fixed, format: "csv" });
    await Promise.all([showLargest(asked), rows.load()]);
  } catch (error) {
    fail(error);
  }
  ready();
}

function form() {
  const made = element("form", { className: "filters" });
  made.setAttribute("role", "search");
  made.setAttribute("aria-label", "Filters of usage");
  const field = (label, name, input) => made.append(element("label", {}, label, Object.assign(input, { name })));
  for (const [name, label] of [["from", "From"], ["to", "To"]]) field(label, name, element("input", { type: "date", required: true }));
  for (const [name, [label, options]] of Object.entries(CHOICES)) field(label, name, element("select", {}, ...options.map(([value, text]) => element("option", { value, textContent: text }))));
  for (const [name, label] of Object.entries(OWNERS)) field(label, name, element("input", { type: "search", maxLength: 200, placeholder: ["user_id", "group_id"].includes(name) ? "name or id" : "all" }));
  const fill = () => {
    Object.entries(days(given())).forEach(([name, value]) => { made.elements[name].value = value; });
    Object.keys(CHOICES).forEach((name) => { made.elements[name].value = chosen(name); });
    Object.keys(OWNERS).forEach((name) => { made.elements[name].value = given().get(name) ?? ""; });
  };
  const apply = () => {
    const search = new URLSearchParams([...new FormData(made)].map(([name, value]) => [name, value.trim()]).filter(([, value]) => value));
    history.pushState({}, "", `${location.pathname}?${search}`);
    return load();
  };
  made.append(element("button", { type: "submit", textContent: "Search" }));
  made.addEventListener("submit", (event) => { event.preventDefault(); apply(); });
  for (const one of made.elements) if (one.type !== "search") one.addEventListener("change", () => made.reportValidity() && apply());
  addEventListener("popstate", () => { fill(); load(); });
  fill();
  return made;
}

csv.addEventListener("click", async (event) => {
  event.preventDefault();
  fail(null);
  await download(csv.getAttribute("href")).catch(fail);
});
byId("tools").append(csv);
byId("view").replaceChildren(form(), totals, largest, rows.place);
await load();
