// The own keys: create with scope, expiry and budget, rotate, revoke.
import { call } from "../playground/api.js";
import { byId, element, onSubmit } from "../playground/dom.js";
import { action, confirmed, empty, moment, pages, table, words } from "./parts.js";

function show(text) {
  byId("made").hidden = false;
  byId("made").querySelector("pre").textContent = text;
  byId("made").querySelector("pre").focus();
}

function scope(key) {
  const parts = [];
  if (key.models) parts.push(`models ${key.models.join(", ")}`);
  if (key.endpoints) parts.push(`routes ${key.endpoints.join(", ")}`);
  if (key.networks) parts.push(`from ${key.networks.join(", ")}`);
  return parts.join("; ") || "everything that you may do";
}

function actions(key) {
  const label = key.name || key.id;
  const rotate = action("Rotate", label, async () => {
    if (!(await confirmed(`Rotate the key '${label}'? The old key stays valid for 24 hours.`))) return;
    show((await call("POST", `/me/keys/${key.id}/rotate`, {})).key);
    await showKeys();
  });
  const revoke = action("Revoke", label, async () => {
    if (!(await confirmed(`Revoke the key '${label}'? Programs that use it are refused immediately.`))) return;
    await call("DELETE", `/me/keys/${key.id}`);
    byId("made").hidden = true;
    await showKeys();
  });
  return element("span", { className: "row" }, rotate, revoke);
}

export async function showKeys() {
  const { rows: keys } = await pages("/me/keys");
  const rows = keys.map((key) => [
    element("span", {}, key.name || "without a name", element("br"), element("code", { textContent: key.id }), key.disabled ? element("b", { textContent: " disabled" }) : ""),
    scope(key),
    moment(key.last_used_at),
    moment(key.expires_at),
    actions(key),
  ]);
  byId("keys").replaceChildren(
    keys.length
      ? table("Table of keys", ["Key", "Limited to", "Last used", "Expires", "Actions"], rows)
      : empty("You have no key yet. Programs need a key; create one with the form below."),
  );
  return new Map(keys.map((key) => [key.id, key.name || key.id]));
}

onSubmit(byId("new-key"), async () => {
  const form = byId("new-key");
  const given = Object.fromEntries(new FormData(form));
  const body = { name: given.name };
  for (const name of ["models", "endpoints", "networks"]) if (given[name].trim()) body[name] = words(given[name]);
  if (given.expires) body.expires_at = Math.floor(new Date(given.expires).getTime() / 1000);
  if (given.tokens !== "") body.budget = { tokens: Number(given.tokens), period: given.period };
  const made = await call("POST", "/me/keys", body);
  form.reset();
  show(made.key);
  await showKeys();
});
