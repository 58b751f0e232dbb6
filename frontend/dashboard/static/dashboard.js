// Fills the page of the own account from /me and what is below it. Text is always set as text.
import { call } from "./playground/api.js";
import { byId, element, fail, onSubmit } from "./playground/dom.js";

const count = (value) => value.toLocaleString("en-US");
const moment = (seconds) => (seconds ? new Date(seconds * 1000).toLocaleString() : "never");
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

function table(label, heads, rows) {
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col", textContent: text })));
  const cells = (row) => row.map((cell) => element("td", {}, cell));
  const body = rows.map((row) => element("tr", {}, ...cells(row)));
  const made = element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
  const box = element("div", { className: "wide", tabIndex: 0 }, made);
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", label);
  return box;
}

const empty = (text) => element("p", { className: "quiet", textContent: text });

function confirmed(text) {
  const dialog = byId("confirm");
  byId("confirm-text").textContent = text;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

function action(name, label, run) {
  const button = element("button", { type: "button", textContent: name });
  button.setAttribute("aria-label", `${name} ${label}`);
  button.addEventListener("click", async () => {
    fail(null);
    try {
      await run();
    } catch (error) {
      fail(error);
    }
  });
  return button;
}

function show(text) {
  byId("made").hidden = false;
  byId("made").querySelector("pre").textContent = text;
  byId("made").querySelector("pre").focus();
}

async function pages(path) {
  const rows = [];
  let after = "";
  do {
    const page = await call("GET", `${path}${path.includes("?") ? "&" : "?"}limit=100${after}`);
    rows.push(...page.data);
    after = page.has_more ? `&after=${encodeURIComponent(page.next_after)}` : "";
  } while (after && rows.length < 2000);
  return rows;
}

async function showKeys() {
  const keys = await pages("/me/keys");
  const rows = keys.map((key) => {
    const label = key.name || key.id;
    const rotate = action("Rotate", label, async () => {
      if (!(await confirmed(`Rotate the key '${label}'? The text until now works for 24 hours more.`))) return;
      show((await call("POST", `/me/keys/${key.id}/rotate`, {})).key);
      await showKeys();
    });
    const revoke = action("Revoke", label, async () => {
      if (!(await confirmed(`Revoke the key '${label}'? Programs that use it are refused at once.`))) return;
      await call("DELETE", `/me/keys/${key.id}`);
      byId("made").hidden = true;
      await showKeys();
    });
    const state = key.disabled ? "disabled" : moment(key.last_used_at);
    const models = key.models ? key.models.join(", ") : "all";
    return [element("span", { textContent: key.name || "without a name" }), element("code", { textContent: key.id }), models, state, element("span", { className: "row" }, rotate, revoke)];
  });
  byId("keys").replaceChildren(
    keys.length ? table("Table of keys", ["Name", "Id", "Models", "Last used", "Actions"], rows) : empty("You have no key yet. Programs need one; the form below makes it."),
  );
}

async function showQuotas() {
  const { data } = await call("GET", "/me/quotas");
  const rows = data.map((one) => {
    const bar = element("meter", { max: Math.max(one.amount, 1), value: one.used + one.reserved });
    bar.setAttribute("aria-label", `${one.measure} used`);
    const what = `${one.measure} per ${one.period}${one.model ? ` of ${one.model}` : ""}`;
    const used = `${count(one.used + one.reserved)} of ${count(one.amount)}`;
    return [what, one.scope_kind, element("span", {}, bar, ` ${used}`), new Date(one.resets_at).toLocaleString()];
  });
  byId("quotas").replaceChildren(
    data.length ? table("Table of limits", ["Limit", "Counts for", "Used", "Resets"], rows) : empty("No limit is set for you."),
  );
}

function chart(days) {
  const svg = (name, attributes, ...children) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const most = Math.max(1, ...days.map(([, tokens]) => tokens));
  const width = 600 / days.length;
  const bars = days.map(([day, tokens], at) => {
    const height = (tokens / most) * 116;
    const text = svg("title", {}, `${day}: ${count(tokens)} tokens`);
    return svg("rect", { x: at * width, y: 120 - height, width: Math.max(1, width - 2), height }, text);
  });
  const sum = days.reduce((total, [, tokens]) => total + tokens, 0);
  const label = `${count(sum)} tokens; days with requests: ${days.length}; most tokens in a day: ${count(most)}`;
  const drawn = svg("svg", { viewBox: "0 0 600 122", class: "chart", role: "img", "aria-label": label }, ...bars);
  return element("figure", {}, drawn, element("figcaption", { textContent: `Tokens per day with requests, at most ${count(most)}; days of ${zone}` }));
}

async function showUsage() {
  const query = `interval=day&tz=${encodeURIComponent(zone)}`;
  byId("export").href = `/me/usage?${query}&format=csv`;
  const rows = await pages(`/me/usage?${query}&by=model,key_id`);
  if (!rows.length) {
    byId("usage").replaceChildren(empty("No request in this range. Usage is written when a request has ended."));
    return;
  }
  const days = new Map();
  const models = new Map();
  for (const row of rows) {
    const tokens = row.prompt_tokens + row.completion_tokens;
    const day = row.start.slice(0, 10);
    days.set(day, (days.get(day) ?? 0) + tokens);
    const name = `${row.model}\u0000${row.key_id}`;
    const kept = models.get(name) ?? [0, 0, 0];
    models.set(name, [kept[0] + row.requests, kept[1] + row.prompt_tokens, kept[2] + row.completion_tokens]);
  }
  const shown = [...models].map(([name, counts]) => {
    const [model, key] = name.split("\u0000");
    return [model, element("code", { textContent: key || "this browser" }), ...counts.map(count)];
  });
  byId("usage").replaceChildren(
    chart([...days].sort()),
    table("Table of usage", ["Model", "Key", "Requests", "Prompt tokens", "Completion tokens"], shown),
  );
}

onSubmit(byId("new-key"), async () => {
  const form = byId("new-key");
  const { name, models, tokens } = Object.fromEntries(new FormData(form));
  const body = { name };
  if (models.trim()) body.models = models.split(",").map((one) => one.trim()).filter(Boolean);
  if (tokens !== "") body.budget = { tokens: Number(tokens), period: "month" };
  const made = await call("POST", "/me/keys", body);
  form.reset();
  show(made.key);
  await showKeys();
});

onSubmit(byId("password"), async () => {
  await call("POST", "/me/password", Object.fromEntries(new FormData(byId("password"))));
  location.assign("/login");
});

byId("sign-out").addEventListener("click", async () => {
  try {
    const { provider_logout: provider } = await call("POST", "/logout");
    location.assign(provider || "/login");
  } catch (error) {
    fail(error);
  }
});

try {
  const me = await call("GET", "/me");
  byId("to-admin").hidden = !me.permissions.some((one) => !["public", "infer", "self"].includes(one));
  byId("who").textContent = `Signed in as ${me.display_name || me.name}, with the role ${me.role}.`;
  await Promise.all([showQuotas(), showUsage(), showKeys()]);
} catch (error) {
  fail(error);
}
