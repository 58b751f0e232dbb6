// The response cache: what it holds, how often it answered, and emptying it.
import { badge, byId, bytes, call, count, duration, element, empty, fail, facts, note, ready } from "./ui.js";
import { tool } from "./list.js";
import { ask } from "./forms.js";

const NAMES = {
  store: "Kept in", mode: "Used", scope: "Answers are shared within one", ttl_s: "Kept for at most", price: "Fraction of its tokens that a cached answer costs", entries: "Answers", size_bytes: "Size", max_bytes: "Largest size", hits: "Sent again", misses: "Not found", bypasses: "Not asked", stored: "Stored",
  evictions: "Removed to make room", too_large: "Too large to store", damaged: "Damaged", failures: "Failures of the store", groups: "Groups with different settings", hit_rate: "Hit rate",
};

function value(name, one) {
  if (one === null) return "–";
  if (name === "hit_rate") return `${(one * 100).toFixed(1)} %`;
  if (name.endsWith("_bytes")) return bytes(one);
  if (name.endsWith("_s")) return duration(one);
  return typeof one === "number" ? count(one) : Array.isArray(one) ? one.join(", ") || "–" : String(one);
}

async function show() {
  const now = await call("GET", "/admin/cache");
  if (!now.enabled) {
    byId("view").replaceChildren(empty("The cache is off: models answer all requests. To turn it on, use the settings that begin with 'cache'."));
    return false;
  }
  const pairs = Object.entries(now).filter(([name]) => !["object", "enabled"].includes(name));
  byId("view").replaceChildren(element("p", {}, badge("on", "good")), facts(pairs.map(([name, one]) => [NAMES[name] ?? name.replaceAll("_", " "), value(name, one)])));
  return true;
}

async function purge() {
  const fields = [
    { name: "model", label: "Of the model", hint: "Empty: all models." },
    { name: "owner", label: "Of", hint: "Such as user:ID or group:ID. Empty: all owners." },
  ];
  const run = ({ model, owner }) => call("POST", "/admin/cache/purge", { model: model || null, owner: owner || null });
  const about = "The stored answers of all gateway processes are deleted; models answer the next requests. This cannot be undone.";
  const done = await ask({ title: "Empty the cache?", about, fields, verb: "Delete the answers", danger: true, run });
  if (!done) return;
  await show();
  note(`Deleted ${count(done.deleted)} answers.`);
}

try {
  if (await show()) tool("Empty the cache", purge);
  ready();
} catch (error) {
  fail(error);
}
