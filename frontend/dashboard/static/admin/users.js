// Users: create, edit, disable, delete, new passwords, and what each has and used.
import { badge, byId, button, call, code, count, element, may, moment, quiet, table, facts } from "./ui.js";
import { list, show, tool } from "./list.js";
import { ask, changes, closeDialog, confirm, details, reveal } from "./forms.js";
import { groupField, per, roleField } from "./choices.js";

const path = "/admin/users";
const isMe = (user) => user.name === byId("admin").dataset.user;

const fields = async (user = {}) => [
  { name: "name", label: "Name", value: user.name, required: true, max: 100, hint: "The name to sign in with, unique." },
  { name: "display_name", label: "Display name", value: user.display_name, max: 100 },
  { name: "email", label: "E-mail", type: "email", value: user.email ?? "" },
  await roleField(user.role),
  await groupField(user.group_id),
];

const body = (values) => ({ ...values, email: values.email || null, group_id: values.group_id || null });

async function password(user) {
  const made = await call("POST", `${path}/${user.id}/password`, {});
  await reveal(`New password of ${user.name}`, "It is shown only once and works once: the user then chooses a new password. All sessions of the user have ended.", made.password);
}

async function edit(user, again) {
  const own = isMe(user);
  const shown = (await fields(user)).filter((one) => !own || !["role", "group_id"].includes(one.name));
  const run = (values) => call("PATCH", `${path}/${user.id}`, changes({ ...values, email: values.email || null }, user));
  if (await ask({ title: `Edit ${user.name}`, fields: shown, verb: "Save", run })) await again(`Saved ${user.name}.`);
}

async function remove(user, again) {
  const lost = [`The account '${user.name}' and its sessions.`];
  if (may("keys")) {
    const keys = await call("GET", `/admin/keys?user_id=${user.id}&limit=200`);
    const some = keys.data.slice(0, 5).map((one) => one.name || one.id).join(", ");
    lost.push(keys.data.length ? `${keys.data.length}${keys.has_more ? " or more" : ""} keys stop working: ${some}${keys.data.length > 5 ? ", …" : ""}.` : "It has no key.");
  } else lost.push("Every key of the user stops working.");
  lost.push("Usage and audit records are kept. This cannot be undone; 'Disable' can be undone.");
  const run = () => call("DELETE", `${path}/${user.id}`);
  if (await confirm({ title: `Delete the user ${user.name}?`, lost, verb: "Delete the user", run })) await again(`Deleted ${user.name}.`);
}

async function toggle(user, again) {
  const run = () => call("PATCH", `${path}/${user.id}`, { disabled: !user.disabled });
  if (user.disabled) await run();
  else if (!(await confirm({ title: `Disable ${user.name}?`, lost: ["Every key and session of the user is refused until the user is enabled again."], verb: "Disable", run }))) return;
  await again(`${user.disabled ? "Enabled" : "Disabled"} ${user.name}.`);
}

async function removeFactor(user, again) {
  const lost = [`The second factor of '${user.name}' and its recovery codes, for a user who has lost them.`, "Every session of the user. Signing in requires only the password until the user sets up another factor."];
  const run = () => call("DELETE", `${path}/${user.id}/second-factor`);
  if (await confirm({ title: `Remove the second factor of ${user.name}?`, lost, verb: "Remove the second factor", run })) await again(`Removed the second factor of ${user.name}.`);
}

async function inspect(user, of, again) {
  const parts = [facts([
    ["Id", code(user.id)], ["Display name", user.display_name || "–"], ["E-mail", user.email ?? "–"], ["Role", user.role], ["Group", of.groups(user.group_id)],
    ["State", badge(user.disabled ? "disabled" : "enabled")], ["Created", moment(user.created_at)],
  ])];
  if (may("usage")) {
    const usage = (await call("GET", `/admin/usage?user_id=${user.id}&by=model&limit=1`)).totals;
    parts.push(element("h3", { textContent: "Usage of the last 30 days" }), facts([["Requests", count(usage.requests)], ["Prompt tokens", count(usage.prompt_tokens)], ["Completion tokens", count(usage.completion_tokens)]]));
  }
  if (may("quotas")) {
    const quotas = (await call("GET", `/admin/quotas?scope_kind=user&scope_id=${user.id}`)).data;
    parts.push(element("h3", { textContent: "Quotas of the user" }), quotas.length ? table("Quotas of the user", ["Limit", "Model"], quotas.map((one) => [`${count(one.amount)} ${per(one)}`, one.model ?? "all"])) : element("p", { className: "quiet", textContent: "The user has no quotas; those of the group and of the plan apply." }));
  }
  if (may("keys")) {
    const keys = (await call("GET", `/admin/keys?user_id=${user.id}`)).data;
    parts.push(element("h3", { textContent: "Keys" }), keys.length ? table("Keys of the user", ["Key", "Last used", "State"], keys.map((one) => [[one.name || "without a name", quiet(one.id)], moment(one.last_used_at), badge(one.disabled ? "disabled" : "enabled")])) : element("p", { className: "quiet", textContent: "The user has no key." }));
  }
  // after the dialog is closed: there is one of them
  let next = null;
  const remove = element("button", { type: "button", className: "danger", textContent: "Remove the second factor" });
  remove.addEventListener("click", () => {
    next = removeFactor;
    closeDialog();
  });
  await details(user.name, ...parts, ...(isMe(user) ? [] : [remove]));
  await next?.(user, again);
}

const users = list({
  label: "Table of users",
  path,
  filters: [
    { name: "search", label: "Search", placeholder: "name, e-mail or id" },
    { name: "role", label: "Role", placeholder: "all", type: "text" },
  ],
  heads: ["User", "Role", "Group", "State", "Created"],
  lookups: { groups: (one) => one.group_id },
  none: "There are no users yet. Create one with 'New user' or with 'triton-gateway users create'.",
  row: (one, of) => [
    [button(one.name, () => inspect(one, of, users.again), { tone: "link" }), ...[one.display_name, one.email].filter(Boolean).map(quiet)],
    one.role, of.groups(one.group_id), badge(one.disabled ? "disabled" : "enabled"), moment(one.created_at),
  ],
  actions: (one, again) => [
    button("Edit", () => edit(one, again), { label: `Edit ${one.name}` }),
    button("Password", () => confirm({ title: `Set a new password for ${one.name}?`, lost: ["The current password, and every session of the user."], verb: "Set a new password", run: async () => true }).then((yes) => yes && password(one)), { label: `New password for ${one.name}` }),
    ...(isMe(one) ? [] : [
      button(one.disabled ? "Enable" : "Disable", () => toggle(one, again), { label: `${one.disabled ? "Enable" : "Disable"} ${one.name}` }),
      button("Delete", () => remove(one, again), { label: `Delete ${one.name}`, tone: "danger" }),
    ]),
  ],
});

await show(users);
tool("New user", async () => {
  const made = await ask({ title: "New user", fields: await fields(), verb: "Create", run: (values) => call("POST", path, body(values)) });
  if (!made) return;
  await password(made);
  await users.again(`Created ${made.name}.`);
});
