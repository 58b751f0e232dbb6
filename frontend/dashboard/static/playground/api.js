// Calls of the gateway's own routes. The key is kept in this variable, and nowhere else.
let key = "";

export const setKey = (value) => {
  key = value.trim();
};

// of the session, where somebody is signed in: the gateway wants it with every request that writes
const csrf = () => /(?:^|; )(?:__Host-)?csrf=([0-9a-f]+)/.exec(document.cookie)?.[1];

export const hasSession = () => !key && csrf() !== undefined;

const headers = () => {
  if (key) return { authorization: `Bearer ${key}` };
  return csrf() ? { "x-csrf-token": csrf() } : {};
};

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function check(response) {
  if (response.ok) return response;
  const text = await response.text();
  let message = text;
  try {
    message = JSON.parse(text).error.message;
  } catch {
    // not the gateway's: a proxy between says it in its own way
  }
  throw new Refused(response.status, message || `HTTP ${response.status}`);
}

export async function get(path) {
  return check(await fetch(path, { headers: headers() }));
}

export async function models() {
  const response = await get("/v1/models");
  return (await response.json()).data;
}

export async function call(method, path, body) {
  const json = body === undefined ? {} : { "content-type": "application/json" };
  const options = { method, headers: { ...json, ...headers() }, body: JSON.stringify(body) };
  return (await check(await fetch(path, options))).json();
}

export async function post(path, body, signal) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers() },
    body: JSON.stringify(body),
    signal,
  });
  return check(response);
}

// The data of each server-sent event, parsed. Throws what the stream reports as an error.
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += value;
      const blocks = rest.split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const lines = block.split("\n").filter((line) => line.startsWith("data:"));
        const data = lines.map((line) => line.slice(5).trim()).join("\n");
        if (!data || data === "[DONE]") continue;
        const event = JSON.parse(data);
        if (event.error) throw new Refused(response.status, event.error.message);
        yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
