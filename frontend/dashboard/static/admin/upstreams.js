// Upstreams: how each is, and registering, draining and deleting them.
import { badge, button, call, code, count, element, empty, facts, moment, quiet } from "./ui.js";
import { list, show, tool } from "./list.js";
import { ask, changes, confirm, details } from "./forms.js";

const path = "/admin/backends";
const ENGINES = ["triton", "vllm", "tgi", "llama.cpp", "lmstudio", "mistral.rs", "openai", "ollama", "anthropic"];

function breakers(one) {
  const broken = Object.entries(one.breakers ?? {});
  return broken.length ? broken.map(([model, state]) => badge(`${model}: ${state}`, "bad")) : "closed";
}

const inspect = (one) => details(
  one.name,
  facts([
    ["Id", code(one.id)], ["Address", code(one.url)], ["Engine", one.engine], ["Registered by", one.source === "settings" ? "the settings" : ["the API, ", moment(one.created_at)]],
    ["State", badge(one.status)], ["Last error", one.error ?? "none"], ["Breakers", breakers(one)], ["Last poll", one.polled_s_ago === null || one.polled_s_ago === undefined ? "never" : `${one.polled_s_ago} s ago${one.stale ? ", stale" : ""}`],
    ["Requests of this gateway", count(one.running)], ["Waiting at the upstream", count(one.queue)], ["Utilization", one.utilization === null || one.utilization === undefined ? "–" : `${Math.round(one.utilization * 100)} %`],
    ["Maximum of concurrent requests", count(one.max_concurrent)], ["Priority", count(one.priority)], ["Prompts leave the site", one.external ? "yes" : "no"],
    ["GPU memory", one.gpu_memory_gb ? `${one.gpu_memory_gb} GiB` : "–"], ["Groups", one.groups?.length ? one.groups.join(", ") : "all"],
    ["Labels", Object.entries(one.labels ?? {}).map(([name, value]) => `${name}=${value}`).join(", ") || "none"],
    ["Key", one.api_key_env ? ["in the variable ", code(one.api_key_env)] : one.api_key_file ? ["in the file ", code(one.api_key_file)] : "none"],
  ]),
  element("h3", { textContent: "Models" }),
  one.models.length ? element("p", {}, ...one.models.flatMap((name) => [code(name), " "])) : empty("It serves no models now."),
);

const change = (one, verb, done, again) => async () => {
  await call("POST", `${path}/${encodeURIComponent(one.id)}/${verb}`);
  await again(`${done} ${one.name}.`);
};

// The label `site` that follows from the field beside it is not one to edit.
function given({ labels = {}, external = false }) {
  const { site, ...others } = labels;
  return site && site !== (external ? "cloud" : "local") ? { site, ...others } : others;
}

const lines = (labels) => Object.entries(labels).map(([name, value]) => `${name}=${value}`).join("\n");

function labelled(text) {
  return Object.fromEntries(text.split("\n").map((line) => line.trim()).filter(Boolean).map((line) => {
    const at = line.indexOf("=");
    if (at < 1) throw new Error(`'labels': '${line}' is not a label: write a name, = and a value, such as trust=high.`);
    return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
  }));
}

const optional = (one = {}) => [
  { name: "max_concurrent", label: "Maximum of concurrent requests", type: "number", value: one.max_concurrent, min: 1, hint: "Empty: no limit." },
  { name: "priority", label: "Priority", type: "number", value: one.priority ?? 0, min: -10, max: 1000, required: true, hint: "Higher is preferred." },
  { name: "gpu_memory_gb", label: "GPU memory in GiB", type: "number", value: one.gpu_memory_gb, step: "any" },
  { name: "external", label: "Prompts that are sent there leave the site", type: "checkbox", value: one.external },
  { name: "labels", label: "Labels", type: "area", value: lines(given(one)), hint: "One per line: name=value, such as trust=high. Groups may require them. The label site is local, or cloud if prompts leave the site." },
  { name: "api_key_env", label: "Environment variable with its key", value: one.api_key_env ?? "", hint: "Name of an environment variable of the gateway that ends with _API_KEY. Do not enter the key itself." },
];

async function edit(one, again) {
  const before = { ...one, labels: given(one) };
  const run = (values) => {
    const after = { ...values, labels: labelled(values.labels), api_key_env: values.api_key_env || null };
    return call("PATCH", `${path}/${one.id}`, { ...changes(after, before), ...(one.revision ? { revision: one.revision } : {}) });
  };
  if (await ask({ title: `Edit ${one.name}`, fields: optional(one), verb: "Save", run })) await again(`Saved ${one.name}.`);
}

async function stop(one, again) {
  const run = () => call("POST", `${path}/${one.id}/disable`);
  const lost = [`No request goes to ${one.name} until it is enabled again.`, `${count(one.running)} requests of this gateway are running there; to let them end first, use 'Drain'.`];
  if (await confirm({ title: `Disable ${one.name}?`, lost, verb: "Disable", run })) await again(`Disabled ${one.name}.`);
}

async function remove(one, again) {
  const lost = [
    `The upstream '${one.name}' at ${one.url}.`,
    one.models.length ? `Models that only this upstream serves become unavailable: ${one.models.slice(0, 8).join(", ")}${one.models.length > 8 ? ", …" : ""}.` : "It serves no models now.",
    `${count(one.running)} requests of this gateway are running there; it is drained first and deleted when it is idle.`,
  ];
  const run = () => call("DELETE", `${path}/${one.id}?wait_s=20`);
  if (await confirm({ title: `Delete ${one.name}?`, lost, verb: "Delete the upstream", run })) await again(`Deleted ${one.name}.`);
}

const upstreams = list({
  label: "Table of upstreams",
  path,
  heads: ["Upstream", "Engine", "State", { text: "Running", number: true }, { text: "Models", number: true }, "Breakers", "Last error"],
  none: "There are no upstreams. Add a server with 'Register an upstream'.",
  row: (one) => [
    [button(one.name, () => inspect(one), { tone: "link" }), quiet(one.url)], one.engine, badge(one.status), count(one.running), count(one.models.length), breakers(one), one.error ?? "–",
  ],
  actions: (one, again) => (one.read_only ? [quiet("from the settings: read only")] : [
    button("Edit", () => edit(one, again), { label: `Edit ${one.name}` }),
    one.enabled && !one.draining ? button("Drain", change(one, "drain", "Draining", again), { label: `Drain ${one.name}` }) : button("Enable", change(one, "enable", "Enabled", again), { label: `Enable ${one.name}` }),
    ...(one.enabled ? [button("Disable", () => stop(one, again), { label: `Disable ${one.name}` })] : []),
    button("Refresh", change(one, "refresh", "Connected again to", again), { label: `Refresh ${one.name}` }),
    button("Delete", () => remove(one, again), { label: `Delete ${one.name}`, tone: "danger" }),
  ]),
});

await show(upstreams);
tool("Refresh the list", () => upstreams.again(), "");
tool("Register an upstream", async () => {
  const fields = [
    { name: "name", label: "Name", required: true, max: 64, hint: "Its name in metrics, prices and logs." },
    { name: "engine", label: "Engine", type: "select", value: "triton", options: ENGINES.map((one) => [one, one]) },
    { name: "url", label: "Address", required: true, placeholder: "10.0.0.7:8001", hint: "HOST:PORT of Triton's gRPC, or the http: or https: URL of another server." },
    ...optional(),
    { name: "models", label: "Models", words: true, hint: "Separated by commas: only these models are served. Empty: all models that the server lists." },
  ];
  const run = (values) => call("POST", `${path}/register`, { ...values, labels: labelled(values.labels), api_key_env: values.api_key_env || null, models: (values.models ?? []).map((name) => ({ name })) });
  const made = await ask({ title: "Register an upstream", fields, verb: "Register", run });
  if (made) await upstreams.again(`Registered ${made.name}.`);
});
