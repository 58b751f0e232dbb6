// What both pages of usage are made of: ranges of days, series of a chart, and files of many answers.
import { get } from "../playground/api.js";
import { element } from "../playground/dom.js";
import { SERIES } from "./chart.js";
import { count } from "./parts.js";

const DAY_S = 86400;
export const MEASURES = {
  tokens: (row) => row.prompt_tokens + row.completion_tokens,
  requests: (row) => row.requests,
  credits: (row) => row.credits,
};
export const HEADS = ["Requests", "Prompt tokens", "Completion tokens", "Credits"].map((text) => ({ text, number: true }));
export const numbers = (values) => values.map((value) => count(Math.round(value * 1000) / 1000));
export const sums = (row) => [row.requests, row.prompt_tokens, row.completion_tokens, row.credits];
const local = (date) => `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, "0")}-${String(date.getDate()).padStart(2, "0")}`;

// The last thirty days in the viewer's zone, where the address does not give others.
export function days(given) {
  const now = new Date();
  return { from: given.get("from") || local(new Date(now - 29 * DAY_S * 1000)), to: given.get("to") || local(now) };
}

// Two days as the API's range: the last one is included.
export function range(from, to) {
  const [year, month, day] = to.split("-").map(Number);
  return { start: from, end: local(new Date(year, month - 1, day + 1)) };
}

export function when(start, interval) {
  const date = start.slice(5, 10);
  return interval === "hour" ? `${date} ${start.slice(11, 16)}` : interval === "month" ? start.slice(0, 7) : date;
}

// Series in order of size; those that have no colour of their own are one.
export function largest(series, starts) {
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const sorted = [...series].sort((a, b) => sum(b.values) - sum(a.values));
  const rest = sorted.slice(SERIES - 1);
  if (rest.length < 2) return sorted;
  const values = starts.map((_, at) => sum(rest.map((one) => one.values[at])));
  return [...sorted.slice(0, SERIES - 1), { name: `${rest.length} others`, values }];
}

// Every row as one file: an answer has 20,000 of them at most, and says where the next one begins.
export async function download(path) {
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
