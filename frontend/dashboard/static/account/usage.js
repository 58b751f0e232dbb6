// Usage by hour, day or month, split by model or key. Sums are those of the API, never of the page.
import { byId, element, fail } from "../playground/dom.js";
import { chart } from "./chart.js";
import { counted, empty, pages, table, zone } from "./parts.js";
import { HEADS, MEASURES, days, download, largest, numbers, range, sums as of, when } from "./report.js";

const form = byId("usage-form");
// not FormData: it leaves out what is off until the page is ready
const chosen = (name) => form.elements[name].value;

function query() {
  return new URLSearchParams({ interval: chosen("interval"), by: chosen("by"), tz: zone, ...range(chosen("from"), chosen("to")) });
}

function title(row, by, names) {
  if (by === "model") return row.model;
  return names.get(row.key_id) ?? (row.key_id || "this browser");
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
  return { starts, series: largest([...groups].map(([name, values]) => ({ name, values })), starts) };
}

function summed(rows, by, names) {
  const groups = new Map();
  for (const row of rows) {
    const name = title(row, by, names);
    const kept = groups.get(name) ?? [0, 0, 0, 0];
    groups.set(name, of(row).map((value, at) => value + kept[at]));
  }
  return [...groups].sort((a, b) => b[1][1] + b[1][2] - a[1][1] - a[1][2]);
}

function exported() {
  const asked = query();
  asked.set("by", "model,key_id");
  asked.set("format", "csv");
  byId("export").href = `/me/usage?${asked}`;
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
  const all = of(totals);
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
  const each = rows.map((row) => [when(row.start, interval), title(row, by, names), ...numbers(of(row))]);
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
  const { from, to } = days(new URLSearchParams(location.search));
  form.from.value = from;
  form.to.value = to;
  form.addEventListener("change", async () => {
    fail(null);
    try {
      await showUsage(names);
    } catch (error) {
      fail(error);
    }
  });
}
