// Plans, and who has which one.
import { badge, button, call, count, moment, quiet } from "./ui.js";
import { list, show, tool } from "./list.js";
import { ask, confirm } from "./forms.js";
import { holderFields, holderKind, per, planField } from "./choices.js";

const path = "/admin/plans";
const line = (quota) => `${quota.amount} ${quota.measure} ${quota.period}`;

// One limit per line, as `100000 tokens day`.
function limits(text) {
  return text.split("\n").map((one) => one.trim()).filter(Boolean).map((one) => {
    const [amount, measure, period, more] = one.split(/\s+/);
    if (!/^\d+$/.test(amount) || !measure || !period || more) throw new Error(`'${one}' is not a limit: write an amount, a measure and a period, such as '100000 tokens day'.`);
    return { amount: Number(amount), measure, period };
  });
}

const fields = (plan = {}) => [
  ...(plan.id ? [] : [{ name: "name", label: "Name", required: true, max: 100 }]),
  { name: "credits", label: "Credits per calendar month", type: "number", value: plan.credits, step: "any", hint: "Empty: unlimited." },
  { name: "shared", label: "One pool for a whole group or organisation", type: "checkbox", value: plan.shared },
  { name: "quotas", label: "Limits of every subscriber", type: "area", value: (plan.quotas ?? []).map(line).join("\n"), hint: "One per line: amount, measure and period, such as 100000 tokens day." },
];
const body = (values) => ({ ...values, quotas: limits(values.quotas) });

const plans = list({
  label: "Table of plans",
  path,
  filters: [{ name: "search", label: "Search", placeholder: "name or id" }],
  heads: ["Plan", { text: "Credits per month", number: true }, "Limits", "Pool", "Made by"],
  none: "There are no plans. Create one with 'New plan'.",
  row: (one) => [
    [one.name, quiet(one.id)], one.credits === null ? "unlimited" : count(one.credits), one.quotas.length ? one.quotas.map((q) => quiet(`${count(q.amount)} ${per(q)}`)) : "none",
    one.shared ? "shared" : "of each user", one.built_in ? badge("built in") : "an administrator",
  ],
  actions: (one, again) => [
    button("Edit", async () => {
      const run = (values) => call("PATCH", `${path}/${one.id}`, body(values));
      if (await ask({ title: `Edit the plan ${one.name}`, fields: fields(one), verb: "Save", run })) await again(`Saved ${one.name}.`);
    }, { label: `Edit ${one.name}` }),
    ...(one.built_in ? [] : [button("Delete", async () => {
      const run = () => call("DELETE", `${path}/${one.id}`);
      if (await confirm({ title: `Delete the plan ${one.name}?`, lost: ["The plan. A plan that has subscribers cannot be deleted."], verb: "Delete the plan", run })) await again(`Deleted ${one.name}.`);
    }, { label: `Delete ${one.name}`, tone: "danger" })]),
  ],
});

const subscriptions = list({
  title: "Subscriptions",
  prefix: "s-",
  label: "Table of subscriptions",
  path: "/admin/subscriptions",
  heads: ["For", "Plan", "This period", "Then"],
  lookups: { plans: (one) => one.plan_id, ...Object.fromEntries(["user", "group", "organisation"].map((kind) => [holderKind(kind), (one) => (one.scope_kind === kind ? one.scope_id : null)])) },
  none: "There are no subscriptions: only quotas apply. Assign a plan to a user, a group or an organisation with 'Assign a plan'.",
  row: (one, of) => [
    [of[holderKind(one.scope_kind)](one.scope_id), quiet(one.scope_kind)], of.plans(one.plan_id),
    ["until ", moment(one.period_ends_at, "it is changed")], one.next_plan_id && one.next_plan_id !== one.plan_id ? of.plans(one.next_plan_id) : "the same",
  ],
  actions: (one, again) => [button("End", async () => {
    const run = () => call("DELETE", `/admin/subscriptions/${one.id}`);
    if (await confirm({ title: "End this subscription?", lost: ["The plan of this holder, with its credits and its limits."], verb: "End the subscription", run })) await again("Ended the subscription.");
  }, { label: `End the subscription of ${one.scope_id}`, tone: "danger" })],
});

await show(plans, subscriptions);
tool("New plan", async () => {
  const made = await ask({ title: "New plan", fields: fields(), verb: "Create", run: (values) => call("POST", path, body(values)) });
  if (made) await plans.again(`Created ${made.name}.`);
});
tool("Assign a plan", async () => {
  const run = (values) => call("POST", "/admin/subscriptions", values);
  if (await ask({ title: "Assign a plan", about: "A holder that already has a plan changes to this one.", fields: [...holderFields(), await planField()], verb: "Give", run })) await subscriptions.again("Assigned the plan.");
});
