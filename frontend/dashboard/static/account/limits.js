// What is left, and requests for more.
import { call } from "../playground/api.js";
import { byId, element, fail, onSubmit } from "../playground/dom.js";
import { count, empty, moment, pages, table } from "./parts.js";

const HOLDERS = { user: "Your own", group: "Shared by your group", organisation: "Shared by your organisation" };
const amount = (value) => count(Math.round(value * 1000) / 1000);

function holding(one) {
  const renewal = one.renews_at ? moment(one.renews_at) : "never: granted without a plan";
  const plan = one.plan ?? "none";
  const next = one.next_plan ? element("small", { textContent: `then ${one.next_plan}` }) : "";
  if (one.unlimited) return [HOLDERS[one.scope_kind], element("span", {}, plan, " ", next), "unlimited", amount(one.spent_in_period), "–"];
  const whole = one.available + one.reserved + one.spent_in_period;
  const bar = element("meter", { max: Math.max(whole, 1), high: Math.max(whole, 1) * 0.9, value: one.spent_in_period });
  bar.setAttribute("aria-label", "credits spent this month");
  const left = `${amount(one.available)} left${one.reserved ? `, ${amount(one.reserved)} reserved by requests that run` : ""}`;
  return [HOLDERS[one.scope_kind], element("span", {}, plan, " ", next), element("span", {}, bar, ` ${left}`), amount(one.spent_in_period), renewal];
}

export async function showCredits() {
  const { data } = await call("GET", "/me/credits");
  const heads = ["Credits", "Plan", "Balance", { text: "Spent this month (UTC)", number: true }, "Renews"];
  byId("credits").replaceChildren(
    data.length ? table("Table of credits", heads, data.map(holding)) : empty("You have no plan and no credits; only the limits below apply."),
  );
}

export async function showLimits() {
  const { data } = await call("GET", "/me/quotas");
  const rows = data.map((one) => {
    const taken = one.used + one.reserved;
    const bar = element("meter", { max: Math.max(one.amount, 1), high: Math.max(one.amount, 1) * 0.9, value: taken });
    bar.setAttribute("aria-label", `${one.measure} used`);
    const what = `${one.measure} per ${one.period}${one.model ? ` of ${one.model}` : ""}`;
    const used = ` ${count(taken)} of ${count(one.amount)}, ${count(one.left)} left`;
    return [what, HOLDERS[one.scope_kind] ?? "This key", element("span", {}, bar, used), moment(Date.parse(one.resets_at) / 1000)];
  });
  byId("quotas").replaceChildren(
    data.length ? table("Table of limits", ["Limit", "Counts for", "Used", "Resets"], rows) : empty("You have no limits."),
  );
}

const asked = (one) => `${count(one.amount)} ${one.measure} per ${one.period}${one.model ? ` of ${one.model}` : ""}`;

// Decisions that the user has not seen yet: each stays until its button is used.
export function showDecisions(decisions) {
  byId("decisions").replaceChildren(...decisions.map((one) => {
    const note = one.note ? `: ${one.note}` : ".";
    const text = element("span", { textContent: `Your request for ${asked(one)} was ${one.status}${note} ` });
    const done = element("button", { type: "button", textContent: "OK" });
    done.setAttribute("aria-label", `Hide the decision on ${asked(one)}`);
    const line = element("p", { className: "notice" }, text, done);
    done.addEventListener("click", async () => {
      done.disabled = true;
      try {
        await call("POST", `/me/quota-requests/${one.id}/seen`, {});
        line.remove();
      } catch (error) {
        done.disabled = false;
        fail(error);
      }
    });
    return line;
  }));
}

export async function showRequests() {
  const { rows } = await pages("/me/quota-requests");
  const shown = rows.map((one) => [asked(one), one.reason, one.status, one.note ?? ""]);
  byId("asked").replaceChildren(
    rows.length ? table("Table of requests for higher limits", ["Asked for", "Reason", "State", "Answer"], shown) : empty("You have not requested a higher limit yet."),
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
