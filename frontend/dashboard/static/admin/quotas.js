// Quotas: how much of what in which period, for whom.
import { button, call, code, count, moment, quiet } from "./ui.js";
import { list, show, tool } from "./list.js";
import { ask, changes, confirm, localTime } from "./forms.js";
import { MEASURES, PERIODS, holderFields, holderKind, per } from "./choices.js";

const path = "/admin/quotas";
const amountFields = (quota = {}) => [
  { name: "amount", label: "Amount", type: "number", value: quota.amount ?? 100000, required: true },
  { name: "expires_at", label: "Ends", type: "datetime-local", value: localTime(quota.expires_at), hint: "In your time zone. Empty: never." },
];
const what = (one) => `${count(one.amount)} ${per(one)}`;

const quotas = list({
  label: "Table of quotas",
  path,
  filters: [
    { name: "scope_kind", label: "For", options: [["", "all"], ["organisation", "organisations"], ["group", "groups"], ["user", "users"], ["key", "keys"]] },
    { name: "scope_id", label: "Id of its subject", type: "text", placeholder: "all" },
  ],
  heads: ["For", "Limit", "Model", "Ends", "Created"],
  lookups: Object.fromEntries(["user", "group", "organisation"].map((kind) => [holderKind(kind), (one) => (one.scope_kind === kind ? one.scope_id : null)])),
  none: "There are no quotas: only plans and the setting 'default_tokens_per_month' limit users. Create one with 'New quota'.",
  row: (one, of) => [
    [one.scope_kind === "key" ? code(one.scope_id) : of[holderKind(one.scope_kind)](one.scope_id), quiet(one.scope_kind)],
    what(one), one.model ?? "all", moment(one.expires_at), moment(one.created_at),
  ],
  actions: (one, again) => [
    button("Edit", async () => {
      const run = (values) => call("PATCH", `${path}/${one.id}`, changes(values, one));
      if (await ask({ title: `Edit: ${what(one)}`, fields: amountFields(one), verb: "Save", run })) await again("Saved the quota.");
    }, { label: `Edit the quota of ${what(one)}` }),
    button("Reset", async () => {
      const run = () => call("POST", `${path}/${one.id}/reset`);
      if (await confirm({ title: `Reset: ${what(one)}?`, lost: ["The used amount of this period is reset to 0.", "Usage reports are kept. This cannot be undone."], verb: "Reset", run })) await again("Reset the quota.");
    }, { label: `Reset the quota of ${what(one)}` }),
    button("Delete", async () => {
      const run = () => call("DELETE", `${path}/${one.id}`);
      if (await confirm({ title: `Delete: ${what(one)}?`, lost: ["The limit; only other limits apply from now on."], verb: "Delete the quota", run })) await again("Deleted the quota.");
    }, { label: `Delete the quota of ${what(one)}`, tone: "danger" }),
  ],
});

await show(quotas);
tool("New quota", async () => {
  const fields = [
    ...holderFields(), { name: "measure", label: "Counts", type: "select", value: "tokens", options: MEASURES },
    { name: "period", label: "Per", type: "select", value: "month", options: PERIODS },
    { name: "model", label: "Model", hint: "Empty: every model." }, ...amountFields(),
  ];
  const run = (values) => call("POST", path, { ...values, model: values.model || null, period: values.measure === "concurrency" ? "none" : values.period });
  if (await ask({ title: "New quota", fields, verb: "Create", run })) await quotas.again("Created the quota.");
});
