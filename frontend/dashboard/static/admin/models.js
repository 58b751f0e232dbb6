// Models at every upstream: loading and unloading, versions, and what is known of each.
import { badge, button, bytes, call, count, duration, element, facts, moment, quiet, table } from "./ui.js";
import { list, show, tool } from "./list.js";
import { ask, confirm, details } from "./forms.js";

const WAIT_S = 30;
const DONE = { loaded: "good", loading: "warn", unloading: "warn", failed: "bad", unreachable: "bad" };
const state = (text) => badge(text, DONE[text] ?? "");

async function change(verb, body, again) {
  const made = await call("POST", `/admin/models/${verb}`, { ...body, wait_s: WAIT_S });
  const failed = made.upstreams.find((one) => one.error);
  await again(failed ? `${made.id} at ${failed.upstream}: ${failed.error}` : `${made.id} is ${made.state}.`);
}

async function unload(one, upstream, again) {
  const running = one.upstreams.filter((copy) => !upstream || copy.upstream === upstream).reduce((sum, copy) => sum + copy.running, 0);
  const lost = [
    `The model '${one.id}' at ${upstream ?? "every upstream"}: requests for it are refused until it is loaded again.`,
    running ? `${count(running)} requests are running; they end first.` : "This gateway runs no requests.",
  ];
  let done = null;
  const run = async () => { done = await call("POST", "/admin/models/unload", { model: one.id, upstream, wait_s: WAIT_S }); };
  if (await confirm({ title: `Unload ${one.id}?`, lost, verb: "Unload", run })) await again(`${one.id} is ${done.state}.`);
}

const versions = (copy) => (copy.versions.length ? copy.versions.map((one) => quiet(`version ${one.version}: ${one.state}`)) : "–");

const inspect = (one) => details(
  one.id,
  facts([
    ["Kind", one.kind], ["State", state(one.state)], ["Aliases", one.aliases.length ? one.aliases.join(", ") : "none"], ["Size", bytes(one.size_bytes)],
    ["Quantization", one.quantization], ["Context", one.context_length ? `${count(one.context_length)} tokens` : null], ["Last request", moment(one.last_used_at)],
  ]),
  table(`${one.id} at each upstream`, ["Upstream", "State", "Versions", { text: "Running", number: true }, "Last request", "Kept loaded", "Error"], one.upstreams.map((copy) => [
    copy.upstream, state(copy.state), versions(copy), count(copy.running), moment(copy.last_used_at),
    copy.on_demand ? [`${duration(copy.keep_s)} after use`, quiet("loaded on demand")] : "until it is unloaded", copy.error ?? "–",
  ])),
);

function actions(one, again) {
  const made = [];
  const some = one.upstreams.length > 1;
  const loaded = one.upstreams.some((copy) => copy.state === "loaded");
  const missing = one.upstreams.some((copy) => ["unloaded", "failed"].includes(copy.state));
  const which = async (verb) => {
    const options = [["", "every upstream"], ...one.upstreams.map((copy) => [copy.upstream, `${copy.upstream}: ${copy.state}`])];
    const picked = await ask({ title: `${verb} ${one.id}`, fields: [{ name: "upstream", label: "At", type: "select", options }], verb: "Continue", run: async (values) => values });
    return picked ? picked.upstream || null : undefined;
  };
  if (missing || loaded) {
    made.push(button(missing ? "Load" : "Load again", async () => {
      const upstream = some ? await which("Load") : null;
      if (upstream !== undefined) await change("load", { model: one.id, upstream }, again);
    }, { label: `Load ${one.id}` }));
  }
  if (loaded) {
    made.push(button("Unload", async () => {
      const upstream = some ? await which("Unload") : null;
      if (upstream !== undefined) await unload(one, upstream, again);
    }, { label: `Unload ${one.id}`, tone: "danger" }));
  }
  return made;
}

const models = list({
  label: "Table of models",
  path: "/admin/models",
  filters: [
    { name: "state", label: "State", options: [["", "all"], ...["loaded", "loading", "unloading", "failed", "unloaded", "unreachable"].map((one) => [one, one])] },
    { name: "upstream", label: "Upstream", type: "text", placeholder: "all" },
  ],
  heads: ["Model", "Kind", "State", "Upstreams", { text: "Size", number: true }, { text: "Running", number: true }, "Last request"],
  none: "No upstream has a model. Build a model repository with 'toolkit build-repo', or register an upstream on the page Upstreams.",
  row: (one) => [
    [button(one.id, () => inspect(one), { tone: "link" }), quiet(one.aliases.length ? `also ${one.aliases.join(", ")}` : "")], one.kind ?? "–", state(one.state),
    one.upstreams.map((copy) => quiet(`${copy.upstream}: ${copy.state}${copy.error ? `, ${copy.error}` : ""}`)), bytes(one.size_bytes),
    count(one.upstreams.reduce((sum, copy) => sum + copy.running, 0)), moment(one.last_used_at),
  ],
  actions,
});

const share = (target) => [
  `${target.model}: ${target.percent} %`, target.stable ? quiet("stable") : "", target.withdrawn_at ? quiet(`withdrawn: ${target.reason}`) : "",
];
const seen = (target) => (target.requests === undefined ? [] : [
  `${count(target.requests)} ${target.requests === 1 ? "request" : "requests"}, ${target.requests ? `${target.error_percent} % failed` : "none failed"}`,
  quiet(target.first_token_ms === null ? "no first token yet" : `first token after ${count(Math.round(target.first_token_ms))} ms`),
]);
const lines = (one, of) => one.targets.map((target) => element("div", {}, ...of(target)));

const shareLine = (target) => `${target.model} ${target.percent}`;

// One model per line with its share, as `small-chat 90`.
function shares(text) {
  return text.split("\n").map((one) => one.trim()).filter(Boolean).map((one) => {
    const [model, percent, more] = one.split(/\s+/);
    if (!/^\d+(\.\d+)?$/.test(percent ?? "") || more) throw new Error(`'${one}' is not a share: write a model and its percent, such as 'small-chat 90'.`);
    return { model, percent: Number(percent) };
  });
}

const rules = (one = {}) => [
  { name: "sticky", label: "Stays at one model", type: "select", value: one.sticky ?? "user", options: [["user", "each user"], ["session", "each session (x-session-id)"]] },
  { name: "max_error_percent", label: "Error rate in percent above which a model is withdrawn", type: "number", value: one.max_error_percent ?? 10, min: 1, max: 100, required: true },
  { name: "min_requests", label: "Requests within ten minutes that are needed before the error rate counts", type: "number", value: one.min_requests ?? 20, min: 1, max: 500, required: true },
];

// The models that can have a share: their own names, and each version where there are several.
async function candidates() {
  const { data } = await call("GET", "/admin/models?limit=200");
  return data.filter((one) => one.kind).flatMap((one) => {
    const numbers = [...new Set(one.upstreams.flatMap((copy) => copy.versions.map((version) => version.version)))];
    return [one.id, ...(numbers.length > 1 ? numbers.map((number) => `${one.id}@${number}`) : [])].map((name) => [name, `${name} (${one.kind})`]);
  });
}

async function start(again) {
  const options = await candidates();
  if (options.length < 2) throw new Error("A canary needs two models, or two versions of one, but no upstream has them now.");
  const fields = [
    { name: "model", label: "Name that clients ask for", required: true, max: 128, hint: "A model's name, an alias, or a new name." },
    { name: "stable", label: "Stable model", type: "select", options, hint: "It is never withdrawn." },
    { name: "trial", label: "Model on trial", type: "select", options, value: options[1][0] },
    { name: "percent", label: "Share of the model on trial, in percent", type: "number", value: 10, min: 0, max: 100, step: "any", required: true, hint: "Share of the users or sessions; the others get the stable model." },
    ...rules(),
  ];
  const run = ({ stable, trial, percent, ...values }) => {
    if (stable === trial) throw new Error("The stable model and the model on trial are the same: choose different models.");
    return call("POST", "/admin/canaries", { ...values, targets: [{ model: stable, percent: 100 - percent }, { model: trial, percent }] });
  };
  if (await ask({ title: "New canary", fields, verb: "Create", run })) await again("Created the canary. To remove it, use 'End', or 'Undo' on the page Changes.");
}

async function edit(one, again) {
  const fields = [
    { name: "targets", label: "Models and their shares", type: "area", value: one.targets.map(shareLine).join("\n"), required: true, hint: "One per line: model and percent, which add up to 100. The first one is the stable model. A withdrawn model gets requests again." },
    ...rules(one),
  ];
  const run = (values) => call("PATCH", `/admin/canaries/${one.id}`, { ...values, targets: shares(values.targets), revision: one.revision });
  if (await ask({ title: `Edit the canary of ${one.model}`, fields, verb: "Save", run })) await again(`Saved the canary of ${one.model}.`);
}

async function promote(one, target, again) {
  const lost = [`'${target.model}' gets all requests for '${one.model}'; the other models of the canary get none.`, "'Undo' on the page Changes restores the shares."];
  const run = () => call("POST", `/admin/canaries/${one.id}/promote`, { target: target.model });
  if (await confirm({ title: `Promote ${target.model}?`, lost, verb: "Promote", run })) await again(`${target.model} gets all requests for ${one.model}.`);
}

async function end(one, again) {
  const lost = [`'${one.model}' refers to its own model again. 'Undo' on the page Changes restores the canary.`];
  const run = () => call("DELETE", `/admin/canaries/${one.id}`);
  if (await confirm({ title: `End the canary of ${one.model}?`, lost, verb: "End", run })) await again(`The canary of ${one.model} has ended.`);
}

const canaries = list({
  prefix: "canary_",
  title: "Canaries",
  label: "Table of canaries",
  path: "/admin/canaries",
  heads: ["Name", "Shares", "Last ten minutes, at this gateway", "Stays at a model"],
  buttons: (again) => [button("New canary", () => start(again))],
  none: "There are no canaries. With 'New canary', another model or version answers a part of the requests.",
  row: (one) => [one.model, lines(one, share), lines(one, seen), `each ${one.sticky}`],
  actions: (one, again) => [
    button("Edit", () => edit(one, again), { label: `Edit the canary of ${one.model}` }),
    ...one.targets.filter((target) => target.percent < 100).map((target) => button(`Promote ${target.model}`, () => promote(one, target, again))),
    button("End", () => end(one, again), { label: `End the canary of ${one.model}`, tone: "danger" }),
  ],
});

await show(models, canaries);
tool("Refresh the lists", () => Promise.all([models.again(), canaries.again()]), "");
