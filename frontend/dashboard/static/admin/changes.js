// The history of changes, with values before and after, and undoing those that can be undone.
import { button, call, code, element, facts, moment, quiet, table } from "./ui.js";
import { list, show } from "./list.js";
import { ask, details } from "./forms.js";

const text = (value) => (value === undefined ? "–" : typeof value === "string" ? value : JSON.stringify(value));

// One row for each column that changed.
function differences(one) {
  const rows = [];
  for (const name of new Set([...Object.keys(one.before ?? {}), ...Object.keys(one.after ?? {})])) {
    const before = one.before?.[name] ?? {};
    const after = one.after?.[name] ?? {};
    for (const column of new Set([...Object.keys(before), ...Object.keys(after)])) {
      if (column === "updated_at_us") continue;
      rows.push([[column, quiet(name)], element("span", { className: "old", textContent: text(before[column]) }), element("span", { className: "new", textContent: text(after[column]) })]);
    }
  }
  return rows;
}

// Credits and prices are stored in millionths; what is empty says nothing.
const shown = ([name, value]) => (name.endsWith("_micro") ? `${name.slice(0, -6)}: ${value / 1e6}` : `${name}: ${text(value)}`).replaceAll("_", " ");

const summary = (one) => {
  const rows = Object.entries(one.details ?? {}).filter(([, value]) => value !== "" && value !== null);
  return rows.length ? rows.map(shown).join(", ") : "–";
};

const inspect = (one) => {
  const rows = differences(one);
  return details(
    `${one.action}, number ${one.number ?? "–"}`,
    facts([
      ["When", moment(one.at)], ["By", [one.actor_name, quiet(one.actor_id)]], ["Of", [one.target_kind, " ", code(one.target_id)]], ["Details", summary(one)],
      ["From", one.address || "–"], ["Request id", one.request_id ? code(one.request_id) : "–"],
    ]),
    rows.length ? table("Values before and after", ["Value", "Before", "After"], rows) : element("p", { className: "quiet", textContent: "This change has no stored values that can be shown." }),
  );
};

async function undo(one, again) {
  const { method, path, body, expected } = one.undo;
  const now = method === "PATCH" ? await call("GET", path) : {};
  const fields = Object.entries(body ?? {});
  const lines = (method === "PATCH" ? fields : []).map(([name, value]) => `${name}: ${text(now[name])} becomes ${text(value)}`);
  const stale = Object.entries(expected).filter(([name, value]) => JSON.stringify(now[name]) !== JSON.stringify(value)).map(([name]) => name);
  const about = [
    lines.length ? `${lines.join("; ")}.` : `It sends ${method} ${path}.`,
    stale.length ? `Caution: ${stale.join(", ")} changed again since then.` : "",
    "Undoing it adds a change to this history.",
  ].filter(Boolean).join(" ");
  if (await ask({ title: `Undo ${one.action}?`, about, fields: [], verb: "Undo", run: () => call(method, path, body ?? undefined) })) await again("Undone.");
}

const changes = list({
  label: "Table of changes",
  path: "/admin/events",
  fixed: { order: "newest" },
  filters: [
    { name: "search", label: "Search", placeholder: "user or action" }, { name: "target_id", label: "Id of what was changed", type: "text" },
    { name: "action", label: "Action", type: "text", placeholder: "users.edit" },
  ],
  heads: ["When", "By", "Action", "Of", "Details"],
  lookups: { users: (one) => (one.target_kind === "user" ? one.target_id : null) },
  none: "There are no changes yet.",
  row: (one, of) => [
    button(moment(one.at).textContent, () => inspect(one), { tone: "link", label: `${one.action}, ${moment(one.at).textContent}` }),
    one.actor_name, one.action, [one.target_kind === "user" ? of.users(one.target_id) : code(one.target_id), quiet(one.target_kind)], summary(one),
  ],
  actions: (one, again) => (one.undo ? [button("Undo", () => undo(one, again), { label: `Undo ${one.action} of ${one.target_id}` })] : []),
});

await show(changes);
