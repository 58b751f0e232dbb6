// What a field offers to choose from, read from the API; null where the role may not read it.
import { call, may } from "./ui.js";

async function all(path) {
  const page = await call("GET", `${path}${path.includes("?") ? "&" : "?"}limit=200`);
  return page.data;
}

export async function roleField(value = "student") {
  const field = { name: "role", label: "Role", value, required: true };
  if (!may("roles")) return { ...field, hint: "The name of a role, such as student or admin." };
  return { ...field, type: "select", options: (await all("/admin/roles")).map((one) => [one.name, one.name]) };
}

export async function groupField(value = "") {
  const field = { name: "group_id", label: "Group", value };
  if (!may("groups")) return { ...field, hint: "The id of a group; empty: the group 'default'." };
  const groups = await all("/admin/groups");
  const options = groups.map((one) => [one.id, one.name]);
  if (value && !groups.some((one) => one.id === value)) options.unshift([value, value]);
  return { ...field, type: "select", options: value ? options : [["", "default"], ...options] };
}

export async function planField() {
  return { name: "plan_id", label: "Plan", type: "select", required: true, options: (await all("/admin/plans")).map((one) => [one.id, one.name]) };
}

const HOLDERS = { user: "users", group: "groups", organisation: "organisations" };

// Two fields: what kind of holder, and which one by its name.
export const holderFields = (kinds = ["user", "group", "organisation"]) => [
  { name: "scope_kind", label: "For a", type: "select", value: kinds[0], options: kinds.map((one) => [one, one]) },
  { name: "scope_id", label: "Name", type: "lookup", required: true, hint: "Type the start of a name to get suggestions. You can also enter an id.", kind: (form) => HOLDERS[form.elements.scope_kind.value] },
];

export const holderKind = (kind) => HOLDERS[kind];

export const PERIODS = [["minute", "minute"], ["day", "day"], ["week", "week"], ["month", "month"], ["year", "year"], ["30d", "rolling 30 days"], ["none", "none: in all"]];
export const MEASURES = [["tokens", "tokens"], ["requests", "requests"], ["concurrency", "requests at once"]];

export function per(one) {
  if (one.measure === "concurrency") return "requests at once";
  return one.period === "none" ? `${one.measure} in all` : `${one.measure} per ${one.period}`;
}
