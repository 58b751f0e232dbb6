// What is left, and requests for more.
import { call } from "../playground/api.js";
import { byId, element, onSubmit } from "../playground/dom.js";
import { count, empty, pages, table } from "./parts.js";

export async function showLimits() {
  const { data } = await call("GET", "/me/quotas");
  const rows = data.map((one) => {
    const taken = one.used + one.reserved;
    const bar = element("meter", { max: Math.max(one.amount, 1), high: Math.max(one.amount, 1) * 0.9, value: taken });
    bar.setAttribute("aria-label", `${one.measure} used`);
    const what = `${one.measure} per ${one.period}${one.model ? ` of ${one.model}` : ""}`;
    const used = ` ${count(taken)} of ${count(one.amount)}, ${count(one.left)} left`;
    return [what, one.scope_kind, element("span", {}, bar, used), new Date(one.resets_at).toLocaleString()];
  });
  byId("quotas").replaceChildren(
    data.length ? table("Table of limits", ["Limit", "Counts for", "Used", "Resets"], rows) : empty("No limit is set for you."),
  );
}

export async function showRequests() {
  const { rows } = await pages("/me/quota-requests");
  const shown = rows.map((one) => {
    const what = `${count(one.amount)} ${one.measure} per ${one.period}${one.model ? ` of ${one.model}` : ""}`;
    return [what, one.reason, one.status, one.note ?? ""];
  });
  byId("asked").replaceChildren(
    rows.length ? table("Table of requests for more", ["Asked for", "Reason", "State", "Answer"], shown) : empty("You have not asked for more yet."),
  );
}

onSubmit(byId("ask"), async () => {
  const form = byId("ask");
  const given = Object.fromEntries(new FormData(form));
  const body = { amount: Number(given.amount), measure: given.measure, period: given.period, reason: given.reason };
  if (given.model.trim()) body.model = given.model.trim();
  await call("POST", "/me/quota-requests", body);
  form.reset();
  await showRequests();
});
