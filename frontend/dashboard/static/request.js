// The form of people without an account, and the state of what they asked for. Nothing is stored.
import { byId, onSubmit } from "./playground/dom.js";

async function ask(path, options) {
  const response = await fetch(path, options);
  const body = await response.json();
  if (!response.ok) throw new Error(body.error.message);
  return body;
}

onSubmit(byId("request"), async () => {
  const body = JSON.stringify(Object.fromEntries(new FormData(byId("request"))));
  const made = await ask("/key-requests", { method: "POST", headers: { "content-type": "application/json" }, body });
  byId("made").hidden = false;
  byId("made-key").textContent = made.key;
  byId("made-id").textContent = made.id;
  byId("request").hidden = true;
  byId("made-key").focus();
});

onSubmit(byId("state"), async () => {
  const { id, key } = Object.fromEntries(new FormData(byId("state")));
  const found = await ask(`/key-requests/${encodeURIComponent(id.trim())}`, { headers: { authorization: `Bearer ${key.trim()}` } });
  byId("answer").textContent = `The request is ${found.status}.${found.note ? ` ${found.note}` : ""}`;
});

for (const group of document.querySelectorAll("fieldset.off")) group.disabled = false;
