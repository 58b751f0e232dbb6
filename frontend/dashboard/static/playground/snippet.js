// Shows a request as code that people can run. The key is never part of it. Images are shortened
// until the code is copied.
import { byId } from "./dom.js";

const SHOWN = 200;

const short = (_, value) =>
  typeof value === "string" && value.startsWith("data:") ? `${value.slice(0, SHOWN)}…` : value;
const whole = (_, value) => value;

const CALLS = {
  "/v1/chat/completions": "chat.completions.create",
  "/v1/completions": "completions.create",
  "/v1/embeddings": "embeddings.create",
  "/v1/images/generations": "images.generate",
};

export function show(panel, path, body) {
  const url = byId("playground").dataset.url;
  const place = panel.querySelector(".request");
  for (const [name, write] of [["[data-curl]", curl], ["[data-python]", python]]) {
    const code = place.querySelector(name);
    code.textContent = write(url, path, body, short);
    code.whole = write(url, path, body, whole);
  }
  for (const button of place.querySelectorAll("button")) button.textContent = "Copy";
  place.hidden = false;
}

function curl(url, path, body, cut) {
  const text = JSON.stringify(body, cut, 2);
  return `curl ${url}${path} \\\n  -H "Authorization: Bearer $API_KEY" \\\n` +
    `  -H 'Content-Type: application/json' \\\n  --data-binary @- <<'END'\n${text}\nEND`;
}

// What the SDK has no parameter for goes into extra_body.
function python(url, path, body, cut) {
  const { seed, ...rest } = body;
  const extra = path === "/v1/images/generations" && seed !== undefined;
  const fields = Object.entries(extra ? rest : body).map(
    ([name, value]) => `    ${name}=${literal(value, 4, cut)},`,
  );
  if (extra) fields.push(`    extra_body={"seed": ${seed}},`);
  return [
    "import os",
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url="${url}/v1", api_key=os.environ.get("API_KEY", "unused"))`,
    `answer = client.${CALLS[path]}(`,
    ...fields,
    ")",
    ...(body.stream ? ["for event in answer:", "    print(event)"] : ["print(answer)"]),
  ].join("\n");
}

function literal(value, indent, cut) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value !== "object") return JSON.stringify(cut("", value));
  const inside = " ".repeat(indent + 4);
  const parts = Array.isArray(value)
    ? value.map((one) => literal(one, indent + 4, cut))
    : Object.entries(value).map(([k, v]) => `${JSON.stringify(k)}: ${literal(v, indent + 4, cut)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const line = parts.join(", ");
  if (line.length < 60 && !line.includes("\n")) return open + line + close;
  return `${open}\n${inside}${parts.join(`,\n${inside}`)},\n${" ".repeat(indent)}${close}`;
}
