// Usage by hour, day or month, split by model or key. Sums are those of the API, never of the page.
import { get } from "../playground/api.js";
import { byId, element, fail } from "../playground/dom.js";
import { SERIES, chart } from "./chart.js";
import { count, counted, empty, pages, table, zone } from "./parts.js";

const DAY_S = 86400;
const MEASURES = {
  tokens: (row) => row.prompt_tokens + row.completion_tokens,
  requests: (row) => row.requests,
  credits: (row) => row.credits,
};
const local = (date) => `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, "0")}-${String(date.getDate()).padStart(2, "0")}`;
const form = byId("usage-form");
// not FormData: it leaves out what is off until the page is ready
const chosen = (name) => form.elements[name].value;

// The days of the form, in the viewer's zone; the last one is included.
function range() {
  const [year, month, day] = chosen("to").split("-").map(Number);
  return { start: chosen("from"), end: local(new Date(year, month - 1, day + 1)) };
}

function query() {
  return new URLSearchParams({ interval: chosen("interval"), by: chosen("by"), tz: zone, ...range() });
}

function title(row, by, names) {
  if (by === "model") return row.model;
  return names.get(row.key_id) ?? (row.key_id || "this browser");
}

function when(start, interval) {
  const date = start.slice(5, 10);
  return interval === "hour" ? `${date} ${start.slice(11, 16)}` : interval === "month" ? start.slice(0, 7) : date;
}

function split(rows, by, names, measure) {
  const starts = [...new Set(rows.map((row) => row.start))];
  const groups = new Map();
  for (const row of rows) {
    const name = title(row, by, names);
    const values = groups.get(name) ?? starts.map(() => 0);
    values[starts.indexOf(row.start)] += measure(row);
    groups.set(name, values);
  }
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const series = [...groups].map(([name, values]) => ({ name, values })).sort((a, b) => sum(b.values) - sum(a.values));
  const rest = series.slice(SERIES - 1);
  if (rest.length < 2) return { starts, series };
  const others = starts.map((_, at) => sum(rest.map((one) => one.values[at])));
  return { starts, series: [...series.slice(0, SERIES - 1), { name: `${rest.length} others`, values: others }] };
}

function summed(rows, by, names) {
  const groups = new Map();
  for (const row of rows) {
    const name = title(row, by, names);
    const kept = groups.get(name) ?? [0, 0, 0, 0];
    groups.set(name, [row.requests, row.prompt_tokens, row.completion_tokens, row.credits].map((value, at) => value + kept[at]));
  }
  return [...groups].sort((a, b) => b[1][1] + b[1][2] - a[1][1] - a[1][2]);
}

const numbers = (values) => values.map((value) => count(Math.round(value * 1000) / 1000));
const HEADS = ["Requests", "Prompt tokens", "Completion tokens", "Credits"].map((text) => ({ text, number: true }));

function exported() {
  const asked = query();
  asked.set("by", "model,key_id");
  asked.set("format", "csv");
  byId("export").href = `/me/usage?${asked}`;
}

// Every row as one file: an answer has 20,000 of them at most, and says where the next one begins.
async function download(path) {
  const parts = [];
  let after = "";
  do {
    const response = await get(`${path}${after && `&after=${after}`}`);
    const text = await response.text();
    parts.push(parts.length ? text.slice(text.indexOf("\n") + 1) : text);
    after = response.headers.get("x-next-after");
  } while (after);
  const url = URL.createObjectURL(new Blob(parts, { type: "text/csv" }));
  element("a", { href: url, download: "usage.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

byId("export").addEventListener("click", async (event) => {
  event.preventDefault();
  fail(null);
  await download(byId("export").href).catch(fail);
});

let newest = 0;

export async function showUsage(names) {
  newest += 1;
  const mine = newest;
  const [interval, by, measure] = ["interval", "by", "measure"].map(chosen);
  exported();
  const { rows, totals, cut } = await pages(`/me/usage?${query()}`, 4000);
  if (mine !== newest) return; // a later choice is on its way: this answer is not for it
  const all = [totals.requests, totals.prompt_tokens, totals.completion_tokens, totals.credits];
  byId("totals").textContent = `${counted(totals.requests, "request")}, ${counted(totals.prompt_tokens, "prompt token")}, ${counted(totals.completion_tokens, "completion token")}; days of ${zone}`;
  byId("totals").dataset.tokens = totals.prompt_tokens + totals.completion_tokens;
  if (!rows.length) {
    byId("usage").replaceChildren(empty("There are no requests in this range. Usage is written when a request has ended."));
    return;
  }
  const { starts, series } = split(rows, by, names, MEASURES[measure]);
  const heading = `${measure} of ${counted(totals.requests, "request")} by ${interval}, split by ${by === "model" ? "model" : "key"}`;
  const labels = starts.map((start) => when(start, interval));
  const width = byId("usage").clientWidth;
  const shown = element("div", { className: "place" });
  const each = rows.map((row) => [when(row.start, interval), title(row, by, names), ...numbers([row.requests, row.prompt_tokens, row.completion_tokens, row.credits])]);
  const details = element("details", {}, element("summary", { textContent: `Every ${interval}` }), table("Table of usage by time", [interval, by === "model" ? "Model" : "Key", ...HEADS], each));
  const sums = summed(rows, by, names).map(([name, values]) => [name, ...numbers(values)]);
  if (sums.length > 1) sums.push(["All", ...numbers(all)]);
  const note = cut ? [empty("The range has more rows than this page shows. The totals above include all rows, and the CSV file contains all rows.")] : [];
  byId("usage").replaceChildren(shown, table("Table of usage", [by === "model" ? "Model" : "Key", ...HEADS], sums), details, ...note);
  // the tables say the same and do not wait for the picture; of an older choice, it is not in the page any more
  const drawn = chart({ title: heading, unit: measure, labels, series, width }).catch((error) => empty(`The chart cannot be drawn: ${error.message}`));
  drawn.then((picture) => shown.replaceWith(picture));
}

export function prepareUsage(names) {
  const now = new Date();
  const given = new URLSearchParams(location.search);
  form.from.value = given.get("from") ?? local(new Date(now - 29 * DAY_S * 1000));
  form.to.value = given.get("to") ?? local(now);
  form.addEventListener("change", async () => {
    fail(null);
    try {
      await showUsage(names);
    } catch (error) {
      fail(error);
    }
  });
}
