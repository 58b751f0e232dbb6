// The live overview: every event is a whole snapshot, so one that is missed is not needed later.
import { badge, byId, call, code, count, bytes, duration, element, empty, fail, may, moment, quiet, ready, table } from "./ui.js";
import { chart } from "../account/chart.js";
import { names } from "./names.js";

const tiles = element("div", { className: "tiles" });
const parts = Object.fromEntries(["alerts", "hour", "models", "upstreams", "queue", "gpus"].map((name) => [name, element("div")]));
parts.hour.append(quiet("The charts are being drawn…"));

function tile(name, value, unit) {
  const shown = element("dd", {}, value, element("small", { textContent: ` ${unit}` }));
  return element("dl", { className: "tile" }, element("dt", { textContent: name }), shown);
}

function showTiles(now) {
  const times = now.models.map((one) => one.first_token_s).filter((one) => one !== null && one !== undefined);
  const up = now.upstreams.filter((one) => one.state === "ready").length;
  tiles.replaceChildren(
    tile("Running", count(now.running), `of ${count(now.slots)} slots`),
    tile("Waiting", count(now.waiting), now.waiting_background ? `and ${count(now.waiting_background)} in the background` : "requests"),
    tile("Generated", count(now.tokens_per_s.completion), "tokens/s"),
    tile("Prompts read", count(now.tokens_per_s.prompt), "tokens/s"),
    tile("First token", times.length ? duration(Math.max(...times)) : "–", times.length ? "slowest model" : "no request yet"),
    tile("Upstreams ready", count(up), `of ${count(now.upstreams.length)}`),
  );
}

// The last hour, of the history in this process: a point each quarter of a minute.
async function showHour() {
  const { points, interval_s: interval } = await call("GET", "/admin/metrics/history");
  if (points.length < 2) {
    parts.hour.replaceChildren(empty(`Charts are shown after the second reading of the metrics. The metrics are read every ${interval} s.`));
    return;
  }
  const of = (name, by) => points.map((point) => Object.values(point.models).reduce((sum, model) => sum + (model[name] ?? 0), 0) / by);
  const labels = points.map((point) => new Date(point.time * 1000).toLocaleTimeString(undefined, { timeStyle: "short" }));
  const width = Math.min(parts.hour.clientWidth, 640);
  const draw = (title, unit, series) => chart({ title: `${title} in the last hour`, unit, kind: "lines", width, labels, series: series.map(([name, key, by]) => ({ name, values: of(key, by) })) });
  const charts = await Promise.all([
    draw("Requests", "requests", [["Running requests", "running", 1], ["Waiting requests", "waiting", 1]]),
    draw("Tokens per second", "tokens/s", [["Generated tokens/s", "completion_tokens", interval], ["Prompt tokens/s", "prompt_tokens", interval]]),
  ]);
  parts.hour.replaceChildren(element("div", { className: "charts" }, ...charts));
}

async function followHour() {
  await showHour().catch((error) => parts.hour.replaceChildren(empty(`The chart cannot be drawn: ${error.message}`)));
  setTimeout(followHour, 30_000);
}

function showAlerts(now) {
  if (now.draining) now.alerts.unshift({ severity: "warning", name: "Draining", summary: "This gateway is stopping: it refuses new requests.", since: now.at });
  const rows = now.alerts.map((one) =>
    element("li", { className: one.severity }, element("b", { textContent: one.summary }), " ", element("small", {}, `${one.name}, since `, moment(one.since))),
  );
  parts.alerts.replaceChildren(rows.length ? element("ul", { className: "alerts" }, ...rows) : element("p", {}, badge("No active alerts", "good")));
}

function showModels(now) {
  const rows = now.models.map((one) => [
    code(one.name), badge(one.state), count(one.running), count(one.waiting), duration(one.first_token_s),
    one.tokens_per_s ? `${count(Math.round(one.tokens_per_s))} tokens/s` : "–", duration(one.queue_wait_p95_s),
  ]);
  const numbers = ["Running", "Waiting", "First token", "Speed of one answer", "Queue wait (p95)"].map((text) => ({ text, number: true }));
  parts.models.replaceChildren(rows.length ? table("Table of models", ["Model", "State", ...numbers], rows) : empty("No upstream serves a model yet. Load a model on the page Models."));
}

function showUpstreams(now) {
  const rows = now.upstreams.map((one) => {
    const broken = Object.entries(one.breakers).map(([model, state]) => `${model}: ${state}`);
    return [one.name, one.engine, badge(one.state), count(one.running), count(one.models), broken.length ? badge(broken.join(", "), "bad") : "closed", one.error ?? "–"];
  });
  const heads = ["Upstream", "Engine", "State", { text: "Running", number: true }, { text: "Models", number: true }, "Breakers", "Last error"];
  parts.upstreams.replaceChildren(rows.length ? table("Table of upstreams", heads, rows) : empty("There are no upstreams. Register one on the page Upstreams."));
}

async function showQueue(now) {
  if (!now.queue) {
    parts.queue.replaceChildren(empty("Only roles with the permission 'usage' see who is waiting."));
    return;
  }
  const flows = now.queue.flows;
  if (!flows.length) {
    parts.queue.replaceChildren(empty("The queue is empty. Users with waiting or running requests are listed here with their share, deficit and position."));
    return;
  }
  const of = await names("users", flows.map((one) => one.user_id));
  const rows = flows.map((one) => [
    [of(one.user_id), one.background ? quiet("background") : ""], one.models.join(", "), count(one.position), duration(one.expected_wait_s), duration(one.longest_wait_s),
    count(one.waiting), count(one.running), `${(one.share * 100).toFixed(1)} %`, count(Math.round(one.deficit)),
  ]);
  const numbers = ["Position", "Expected wait", "Waits for", "Waiting", "Running", "Share", "Deficit (tokens)"].map((text) => ({ text, number: true }));
  parts.queue.replaceChildren(table("Table of the queue", ["User", "Models", ...numbers], rows));
}

function showGpus(now) {
  const rows = now.gpus.map((one) => {
    const part = one.memory_total_bytes ? one.memory_used_bytes / one.memory_total_bytes : 0;
    const bar = element("meter", { max: 1, value: part });
    bar.setAttribute("aria-label", "memory used");
    const used = one.utilization === undefined ? "–" : `${Math.round(one.utilization * 100)} %`;
    return [[one.upstream, quiet(one.gpu)], used, [bar, ` ${bytes(one.memory_used_bytes)} of ${bytes(one.memory_total_bytes)}`], one.power_w === undefined ? "–" : `${Math.round(one.power_w)} W`];
  });
  const heads = ["GPU", { text: "Busy", number: true }, { text: "Memory", number: true }, { text: "Power", number: true }];
  parts.gpus.replaceChildren(rows.length ? table("Table of GPUs", heads, rows) : empty("No upstream reports a GPU. Triton reports GPUs in its metrics; set their URL in the setting 'metrics_urls'."));
}

async function show(now) {
  showTiles(now);
  showAlerts(now);
  showModels(now);
  showUpstreams(now);
  showGpus(now);
  await showQueue(now);
  ready();
}

const section = (title, id) => element("section", {}, element("h2", { textContent: title }), parts[id]);
const state = badge("connecting");
byId("tools").append(state);

function live(text, tone) {
  state.textContent = text;
  state.className = `badge ${tone}`;
}

function start() {
  const source = new EventSource("/admin/live");
  source.addEventListener("message", (event) => {
    live("live", "good");
    fail(null);
    show(JSON.parse(event.data)).catch(fail);
  });
  source.addEventListener("end", (event) => {
    source.close();
    if (JSON.parse(event.data).reason === "signed_out") refused();
    else later("the gateway is stopping");
  });
  source.addEventListener("error", async () => {
    live("reconnecting", "warn");
    // the browser tries again by itself, unless the answer was an error
    if (source.readyState === EventSource.CLOSED) await refused();
  });
}

function later(text) {
  live(text, "warn");
  setTimeout(start, 10_000);
}

// Why the stream was refused: the session has ended, or too many are open.
async function refused() {
  try {
    await show(await call("GET", "/admin/overview"));
    later("not live: too many live views are open");
  } catch (error) {
    if (error.status === 401 || error.status === 403) live("ended", "bad");
    else later("the gateway does not answer");
    fail(error);
  }
}

const first = await call("GET", "/admin/overview").catch((error) => fail(error));
if (first) {
  byId("view").replaceChildren(tiles, section("Alerts", "alerts"), section("Last hour", "hour"), section("Queue", "queue"), section("Models", "models"), section("Upstreams", "upstreams"), section("GPUs", "gpus"));
  await show(first).catch(fail);
  start();
  followHour();
}
