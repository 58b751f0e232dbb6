// Credits: the balance of a holder, grants with a reason, and the last grants.
import { byId, call, count, element, empty, facts, moment, quiet } from "./ui.js";
import { list, show, tool } from "./list.js";
import { ask } from "./forms.js";
import { holderFields, holderKind } from "./choices.js";

const balance = element("section");
balance.setAttribute("aria-live", "polite");
const NAMES = { available: "Available", reserved: "Reserved by running requests", spent: "Spent", granted: "Granted in all", expired: "Expired" };

async function showBalance(holder, name) {
  const found = await call("GET", `/admin/credits?scope_kind=${holder.scope_kind}&scope_id=${encodeURIComponent(holder.scope_id)}`);
  const numbers = Object.entries(found).filter(([, value]) => typeof value === "number");
  balance.replaceChildren(element("h2", { textContent: `Credits of ${name}` }), numbers.length ? facts(numbers.map(([key, value]) => [NAMES[key] ?? key, `${count(value)} credits`])) : empty("No credits have been granted yet."));
}

const grants = list({
  title: "Last grants",
  label: "Table of grants",
  path: "/admin/events",
  fixed: { action: "credits.grant", order: "newest" },
  lookups: Object.fromEntries(["user", "group", "organisation"].map((kind) => [holderKind(kind), (one) => (one.target_kind === kind ? one.target_id : null)])),
  heads: ["When", "To", { text: "Credits", number: true }, "Reason", "By"],
  none: "No credits have been granted yet. Grant some with 'Grant credits'; the ledger keeps the reason.",
  row: (one, of) => {
    const { credits_micro: micro, credits, note } = one.details;
    return [moment(one.at), [of[holderKind(one.target_kind)](one.target_id), quiet(one.target_kind)], count(credits ?? (micro === undefined ? null : micro / 1e6)), note || "–", one.actor_name];
  },
});

await show(grants);
byId("view").prepend(balance);
balance.append(element("p", { className: "quiet", textContent: "'Show a balance' shows the credits of a user, a group or an organisation." }));
tool("Show a balance", async () => {
  let holder = null;
  const run = async (values) => { holder = values; await showBalance(values, values.scope_id); };
  await ask({ title: "Show a balance", fields: holderFields(), verb: "Show", run });
});
tool("Grant credits", async () => {
  const fields = [
    ...holderFields(), { name: "credits", label: "Credits", type: "number", min: "", step: "any", required: true, hint: "A negative amount takes credits back." },
    { name: "note", label: "Reason", required: true, max: 500 },
  ];
  const made = await ask({ title: "Grant credits", fields, verb: "Grant", run: (values) => call("POST", "/admin/credits", values).then(() => values) });
  if (!made) return;
  await showBalance(made, made.scope_id);
  await grants.again(`Granted ${count(made.credits)} credits.`);
});
