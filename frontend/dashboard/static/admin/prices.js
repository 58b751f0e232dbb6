// The price table: the newest entry of a model and an upstream holds.
import { button, call, code, moment } from "./ui.js";
import { list, show, tool } from "./list.js";
import { ask, confirm } from "./forms.js";

const path = "/admin/prices";
// as exact as the API keeps them: millionths
const amount = (value) => value.toLocaleString("en-US", { maximumFractionDigits: 6 });
const MONEY = [["prompt", "Per million prompt tokens"], ["cached", "Per million cached prompt tokens"], ["completion", "Per million completion tokens"], ["image", "Per image"], ["request", "Per request"]];

const prices = list({
  label: "Table of prices",
  path,
  filters: [{ name: "model", label: "Model", placeholder: "all" }],
  heads: ["Model", "Upstream", ...["Prompt, per 1M tokens", "Cached prompt, per 1M", "Completion, per 1M", "Per image", "Per request", "Credits per request"].map((text) => ({ text, number: true })), "From"],
  none: "There are no prices: each request costs one credit and no money. Set the prices of a model with 'New price'.",
  row: (one) => [code(one.model), one.upstream === "*" ? "all" : one.upstream, ...["prompt", "cached", "completion", "image", "request", "credits"].map((name) => amount(one[name])), moment(one.starts_at)],
  actions: (one, again) => [button("Delete", async () => {
    const run = () => call("DELETE", `${path}/${one.id}`);
    if (await confirm({ title: `Delete this price of ${one.model}?`, lost: ["The entry; the previous one applies again, if there is one.", "Past charges are kept."], verb: "Delete the price", run })) await again("Deleted the price.");
  }, { label: `Delete the price of ${one.model}`, tone: "danger" })],
});

await show(prices);
tool("New price", async () => {
  const fields = [
    { name: "model", label: "Model", required: true, value: "*", hint: "* stands for all models." }, { name: "upstream", label: "Upstream", required: true, value: "*", hint: "* stands for all upstreams." },
    ...MONEY.map(([name, label]) => ({ name, label, type: "number", value: 0, step: "any", required: true })),
    { name: "credits", label: "Credits per request", type: "number", value: 1, step: "any", required: true },
    { name: "starts_at", label: "From", type: "datetime-local", hint: "In your time zone. Empty: now." },
  ];
  if (await ask({ title: "New price", about: "Earlier entries are kept, so that earlier usage keeps its price.", fields, verb: "Create", run: (values) => call("POST", path, values) })) await prices.again("Created the price.");
});
