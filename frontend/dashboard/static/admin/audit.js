// A search in the audit. What people and models wrote is shown as text, and only as text.
import { badge, bytes, button, call, code, count, duration, element, facts, moment, quiet, zone } from "./ui.js";
import { list, show } from "./list.js";
import { details } from "./forms.js";

const tone = (status) => (status >= 500 ? "bad" : status >= 400 ? "warn" : "good");
const written = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

function text(title, value) {
  if (value === null || value === undefined) return [];
  const shown = element("pre", { className: "text", tabIndex: 0, textContent: written(value) });
  shown.setAttribute("aria-label", title);
  return [element("h3", { textContent: title }), shown];
}

async function inspect(row, of) {
  const one = await call("GET", `/admin/audit/records/${row.id}`);
  const saved = (one.artifacts ?? []).map((each) => element("p", {}, element("a", { href: `/admin/audit/artifacts/${each.sha256}`, textContent: `${each.media_type}, ${bytes(each.size_bytes)}` }), quiet(each.sha256)));
  const shown = new Set(["id", "object", "at", "request", "answer", "artifacts", "user_id", "status", "model", "digest", "level"]);
  const rest = Object.entries(one).filter(([name, value]) => !shown.has(name) && value !== null && value !== "");
  const level = { full: "full", metadata: "metadata: the policy does not keep texts", none: "nothing" }[one.level] ?? one.level;
  await details(
    `Record ${one.id}`,
    facts([
      ["When", moment(one.at)], ["User", of.users(one.user_id)], ["Status", badge(String(one.status), tone(one.status))], ["Model", one.model || "–"], ["Kept", level], ["Digest", one.digest ? code(one.digest) : "–"],
      ...rest.map(([name, value]) => [name.replaceAll("_", " "), typeof value === "number" && name.endsWith("_s") ? duration(value) : typeof value === "object" ? JSON.stringify(value) : String(value)]),
    ]),
    ...text("Request", one.request), ...text("Answer", one.answer),
    ...(saved.length ? [element("h3", { textContent: "Files" }), ...saved] : []),
  );
}

const exported = ["csv", "jsonl"].map((format) => element("a", { textContent: format.toUpperCase(), download: `audit.${format}` }));

const audit = list({
  label: "Table of audit records",
  path: "/admin/audit/search",
  fixed: { tz: zone },
  filters: [
    { name: "start", label: "From", type: "datetime-local" }, { name: "end", label: "Until", type: "datetime-local" },
    { name: "user_id", label: "User's id", type: "text" }, { name: "model", label: "Model", type: "text" },
    { name: "status", label: "Status", type: "text", placeholder: "429, 5xx" }, { name: "text", label: "Words in the texts" }, { name: "request_id", label: "Request id", type: "text" },
  ],
  heads: ["When", "User", "Request", "Model", "Status", { text: "Tokens", number: true }, { text: "First token", number: true }, { text: "Took", number: true }],
  lookups: { users: (one) => one.user_id },
  none: "There are no audit records yet. Each request of a caller is recorded, unless the policy of its group is 'none'.",
  row: (one, of) => [
    button(moment(one.at).textContent, () => inspect(one, of), { tone: "link", label: `Record ${one.id}, ${moment(one.at).textContent}` }),
    of.users(one.user_id), [`${one.method ?? ""} ${one.route ?? one.path ?? ""}`.trim() || "–", quiet(one.error ?? "")], one.model || "–", badge(String(one.status), tone(one.status)),
    count((one.prompt_tokens ?? 0) + (one.completion_tokens ?? 0)), duration(one.first_token_s), duration(one.duration_s),
  ],
  loaded: () => {
    const query = audit.query();
    query.delete("limit");
    query.delete("after");
    for (const link of exported) {
      query.set("format", link.textContent.toLowerCase());
      link.href = `/admin/audit/search?${query}`;
    }
  },
});

await show(audit);
document.getElementById("tools").append(element("span", {}, "Export these as ", exported[0], " or ", exported[1]));
