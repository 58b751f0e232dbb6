// Groups and organisations: shares in the scheduler, and what the audit keeps.
import { badge, button, call, count, may, moment, quiet } from "./ui.js";
import { list, show, tool } from "./list.js";
import { ask, changes, confirm } from "./forms.js";

const LEVELS = [["", "the gateway's setting"], ["none", "nothing"], ["metadata", "metadata, without texts"], ["full", "full, with prompts and answers"]];

const fields = (group = {}) => [
  { name: "name", label: "Name", value: group.name, required: true, max: 100 },
  { name: "weight", label: "Weight", type: "number", value: group.weight ?? 1, min: 1, max: 1000, required: true, hint: "The share in the scheduler, relative to other groups." },
  { name: "audit", label: "The audit keeps", type: "select", value: group.audit ?? "", options: LEVELS },
  { name: "audit_days", label: "Days until audit records are removed", type: "number", value: group.audit_days, min: 1, hint: "Empty: the gateway's setting." },
];

const body = (values) => ({ ...values, audit: values.audit || null });

function actions(path, noun, edit) {
  return (one, again) => [
    button("Edit", () => edit(one, again), { label: `Edit ${one.name}` }),
    button(one.disabled ? "Enable" : "Disable", async () => {
      const run = () => call("PATCH", `${path}/${one.id}`, { disabled: !one.disabled });
      if (one.disabled) await run();
      else if (!(await confirm({ title: `Disable the ${noun} ${one.name}?`, lost: ["All keys of its users are refused until it is enabled again."], verb: "Disable", run }))) return;
      await again(`${one.disabled ? "Enabled" : "Disabled"} ${one.name}.`);
    }, { label: `${one.disabled ? "Enable" : "Disable"} ${one.name}` }),
    button("Delete", async () => {
      const lost = [`The ${noun} '${one.name}' with its limits and its credits.`];
      if (noun === "group" && may("users")) {
        const users = await call("GET", `/admin/users?group_id=${one.id}&limit=200`);
        lost.push(users.data.length ? `${count(users.data.length)}${users.has_more ? " or more" : ""} users belong to it: move them to another group first.` : "It has no users.");
      }
      lost.push("Usage and audit records are kept. This cannot be undone; 'Disable' can be undone.");
      const run = () => call("DELETE", `${path}/${one.id}`);
      if (await confirm({ title: `Delete the ${noun} ${one.name}?`, lost, verb: `Delete the ${noun}`, run })) await again(`Deleted ${one.name}.`);
    }, { label: `Delete ${one.name}`, tone: "danger" }),
  ];
}

const groups = list({
  label: "Table of groups",
  path: "/admin/groups",
  filters: [{ name: "search", label: "Search", placeholder: "name or id" }],
  heads: ["Group", "Organisation", { text: "Weight", number: true }, "The audit keeps", "State", "Created"],
  lookups: { organisations: (one) => one.organisation_id },
  none: "There are no groups yet. The group 'default' is created with the first user; create others with 'New group'.",
  row: (one, of) => [
    [one.name, quiet(one.id)], of.organisations(one.organisation_id), count(one.weight),
    [one.audit ?? "the gateway's setting", quiet(one.audit_days ? `for ${one.audit_days} days` : "")], badge(one.disabled ? "disabled" : "enabled"), moment(one.created_at),
  ],
  actions: actions("/admin/groups", "group", async (one, again) => {
    const run = (values) => call("PATCH", `/admin/groups/${one.id}`, changes(body(values), one));
    if (await ask({ title: `Edit the group ${one.name}`, fields: fields(one), verb: "Save", run })) await again(`Saved ${one.name}.`);
  }),
});

const organisations = list({
  title: "Organisations",
  prefix: "o-",
  label: "Table of organisations",
  path: "/admin/organisations",
  heads: ["Organisation", "State", "Created"],
  none: "There are no organisations yet. The organisation 'default' is created with the first group.",
  row: (one) => [[one.name, quiet(one.id)], badge(one.disabled ? "disabled" : "enabled"), moment(one.created_at)],
  actions: actions("/admin/organisations", "organisation", async (one, again) => {
    const run = (values) => call("PATCH", `/admin/organisations/${one.id}`, changes(values, one));
    if (await ask({ title: `Edit the organisation ${one.name}`, fields: [{ name: "name", label: "Name", value: one.name, required: true }], verb: "Save", run })) await again(`Saved ${one.name}.`);
  }),
});

await show(groups, organisations);
tool("New group", async () => {
  const all = (await call("GET", "/admin/organisations?limit=200")).data;
  const organisation = { name: "organisation_id", label: "Organisation", type: "select", value: "", options: [["", "default"], ...all.map((one) => [one.id, one.name])] };
  const run = (values) => call("POST", "/admin/groups", { ...body(values), organisation_id: values.organisation_id || null });
  const made = await ask({ title: "New group", fields: [...fields(), organisation], verb: "Create", run });
  if (made) await groups.again(`Created ${made.name}.`);
});
tool("New organisation", async () => {
  const run = (values) => call("POST", "/admin/organisations", values);
  const made = await ask({ title: "New organisation", fields: [{ name: "name", label: "Name", required: true }], verb: "Create", run });
  if (made) await organisations.again(`Created ${made.name}.`);
});
