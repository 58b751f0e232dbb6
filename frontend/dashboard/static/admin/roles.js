// Roles: shares in the scheduler, and permissions.
import { badge, button, call, count } from "./ui.js";
import { list, show, tool } from "./list.js";
import { ask, changes, confirm } from "./forms.js";

let known = [];
const fields = (role) => [
  ...(role ? [] : [{ name: "name", label: "Name", required: true, max: 100 }]),
  { name: "weight", label: "Weight", type: "number", value: role?.weight ?? 1, min: 1, max: 1000, required: true, hint: "The share in the scheduler, relative to others." },
  { name: "permissions", label: "Permissions", type: "checks", value: role?.permissions ?? ["infer", "self"], options: known },
];

const roles = list({
  label: "Table of roles",
  path: "/admin/roles",
  heads: ["Role", { text: "Weight", number: true }, "Permissions", "Made by"],
  none: "There are no roles.",
  loaded: (page) => { known = [...new Set([...known, ...page.data.flatMap((one) => one.permissions)])].sort(); },
  row: (one) => [one.name, count(one.weight), one.permissions.join(", "), one.built_in ? badge("built in") : "an administrator"],
  actions: (one, again) => [
    button("Edit", async () => {
      const run = (values) => call("PATCH", `/admin/roles/${encodeURIComponent(one.name)}`, changes(values, one));
      const about = "It applies to every user of the role from the next request on.";
      if (await ask({ title: `Edit the role ${one.name}`, about, fields: fields(one), verb: "Save", run })) await again(`Saved ${one.name}.`);
    }, { label: `Edit ${one.name}` }),
    ...(one.built_in ? [] : [button("Delete", async () => {
      const run = () => call("DELETE", `/admin/roles/${encodeURIComponent(one.name)}`);
      if (await confirm({ title: `Delete the role ${one.name}?`, lost: ["The role with its permissions.", "A role that a user has or had cannot be deleted."], verb: "Delete the role", run })) await again(`Deleted ${one.name}.`);
    }, { label: `Delete ${one.name}`, tone: "danger" })]),
  ],
});

await show(roles);
tool("New role", async () => {
  const made = await ask({ title: "New role", fields: fields(), verb: "Create", run: (values) => call("POST", "/admin/roles", values) });
  if (made) await roles.again(`Created ${made.name}.`);
});
