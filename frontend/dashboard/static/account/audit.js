// The own requests, as far as the policy of the group keeps them.
import { call } from "../playground/api.js";
import { byId, element } from "../playground/dom.js";
import { action, count, empty, moment, table } from "./parts.js";

const rows = [];
const HEADS = ["Time", "Model", "Status", { text: "Prompt tokens", number: true }, { text: "Completion tokens", number: true }, "Details"];

function line(record) {
  const details = element("a", { href: `/me/audit/${encodeURIComponent(record.id)}`, textContent: "JSON" });
  details.setAttribute("aria-label", `Record ${record.id} as JSON`);
  const tokens = [record.prompt_tokens, record.completion_tokens].map((value) => count(value ?? 0));
  return [moment(record.at), record.model || "–", String(record.status), ...tokens, details];
}

export async function showAudit(after = "") {
  const page = await call("GET", `/me/audit?limit=20${after ? `&after=${encodeURIComponent(after)}` : ""}`);
  // reads of this page itself are records as well, without a model
  rows.push(...page.data.filter((record) => record.model).map(line));
  if (!rows.length && !page.has_more) {
    byId("audit").replaceChildren(empty("There are no records of your requests yet. The policy of your group decides what is kept about your requests, and for how long."));
    return;
  }
  const more = page.has_more ? [action("Show more", "records", () => showAudit(page.next_after))] : [];
  byId("audit").replaceChildren(table("Table of own requests", HEADS, rows), ...more);
}
