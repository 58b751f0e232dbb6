// The keys of all users. A new text is shown once, by the request that makes it.
import { badge, button, call, moment, quiet } from "./ui.js";
import { list, show, tool } from "./list.js";
import { ask, changes, confirm, localTime, reveal } from "./forms.js";
import { PERIODS } from "./choices.js";

const path = "/admin/keys";
const title = (key) => key.name || key.id;
const joined = (values) => (values ? values.join(", ") : "");

const limits = (key = {}) => [
  { name: "name", label: "Name", value: key.name, max: 64, hint: "A name to recognize the key by." },
  { name: "models", label: "Models", words: true, value: joined(key.models), placeholder: "all", hint: "Separated by commas; * stands for any text. Empty: all." },
  { name: "endpoints", label: "Routes", words: true, value: joined(key.endpoints), placeholder: "all", hint: "Such as /v1/*. Empty: all." },
  { name: "networks", label: "Networks", words: true, value: joined(key.networks), placeholder: "all", hint: "Such as 10.0.0.0/8. Empty: all." },
  { name: "expires_at", label: "Expires", type: "datetime-local", value: localTime(key.expires_at), hint: "In your time zone. Empty: never." },
];

const state = (key) => (key.disabled ? "disabled" : key.expires_at && key.expires_at * 1000 < Date.now() ? "expired" : "enabled");
const ABOUT = "It is shown only once: send it to its user in a secure way.";

const keys = list({
  label: "Table of keys",
  path,
  filters: [{ name: "search", label: "Search", placeholder: "name or id of the key" }],
  heads: ["Key", "User", "Limited to", "Last used", "Expires", "State"],
  lookups: { users: (one) => one.user_id },
  none: "There are no keys yet. Users create their own on the page Account; create one for a user with 'New key'.",
  row: (one, of) => {
    const limited = [["models", one.models], ["routes", one.endpoints], ["networks", one.networks]].filter(([, values]) => values);
    return [
      [one.name || "without a name", quiet(one.id)], of.users(one.user_id),
      limited.length ? limited.map(([name, values]) => quiet(`${name}: ${values.join(", ")}`)) : "nothing", moment(one.last_used_at), moment(one.expires_at), badge(state(one)),
    ];
  },
  actions: (one, again) => [
    button("Edit", async () => {
      const run = (values) => call("PATCH", `${path}/${one.id}`, changes(values, one));
      if (await ask({ title: `Edit the key ${title(one)}`, fields: limits(one), verb: "Save", run })) await again(`Saved ${title(one)}.`);
    }, { label: `Edit ${title(one)}` }),
    button("Rotate", async () => {
      const grace = { name: "grace_s", label: "Seconds for which the old key stays valid", type: "number", value: 86400, max: 2592000, required: true };
      const run = (values) => call("POST", `${path}/${one.id}/rotate`, values);
      const made = await ask({ title: `Rotate the key ${title(one)}`, about: "The key gets a new secret, which is shown only once.", fields: [grace], verb: "Rotate", run });
      if (!made) return;
      await reveal(`New secret of ${title(one)}`, ABOUT, made.key);
      await again(`Rotated ${title(one)}.`);
    }, { label: `Rotate ${title(one)}` }),
    button(one.disabled ? "Enable" : "Disable", async () => {
      const run = () => call("PATCH", `${path}/${one.id}`, { disabled: !one.disabled });
      if (one.disabled) await run();
      else if (!(await confirm({ title: `Disable the key ${title(one)}?`, lost: ["Programs that use it are refused until it is enabled again."], verb: "Disable", run }))) return;
      await again(`${one.disabled ? "Enabled" : "Disabled"} ${title(one)}.`);
    }, { label: `${one.disabled ? "Enable" : "Disable"} ${title(one)}` }),
    button("Delete", async () => {
      const run = () => call("DELETE", `${path}/${one.id}`);
      const lost = [`The key '${title(one)}': programs that use it are refused from now on.`, "Usage and audit records are kept. This cannot be undone; 'Disable' can be undone."];
      if (await confirm({ title: `Delete the key ${title(one)}?`, lost, verb: "Delete the key", run })) await again(`Deleted ${title(one)}.`);
    }, { label: `Delete ${title(one)}`, tone: "danger" }),
  ],
});

await show(keys);
tool("New key", async () => {
  const owner = { name: "user_id", label: "User", type: "lookup", kind: "users", required: true, hint: "Type the start of a name to get suggestions." };
  const budget = [
    { name: "tokens", label: "Budget in tokens", type: "number", hint: "Empty: only the limits of the user apply." },
    { name: "period", label: "Per", type: "select", value: "month", options: PERIODS.filter(([id]) => !["none", "minute"].includes(id)) },
  ];
  const run = ({ tokens, period, ...values }) => call("POST", path, { ...values, budget: tokens === null ? null : { tokens, period } });
  const made = await ask({ title: "New key", fields: [owner, ...limits(), ...budget], verb: "Create", run });
  if (!made) return;
  await reveal(`The key ${title(made)}`, ABOUT, made.key);
  await keys.again(`Created ${title(made)}.`);
});
