// Chat: streaming, tools, structured output and images. The conversation lives in this page only.
import { events, post } from "./api.js";
import { byId, element, json, onSubmit, values } from "./dom.js";
import { show } from "./snippet.js";

const PATH = "/v1/chat/completions";
const count = (value) => value.toLocaleString("en-US");

export function setUpChat(panel) {
  const form = panel.querySelector(".settings");
  const [model, log, box, files] = [
    form.querySelector("[data-models]"), byId("log"), byId("message"), byId("pictures"),
  ];
  let messages = [];
  let stopping = new AbortController();

  model.addEventListener("change", () => {
    const able = model.models?.get(model.value)?.capabilities.includes("vision");
    byId("pictures-label").hidden = !able;
    if (!able) files.value = "";
  });

  function request() {
    const { system, stop, tools, schema, ...sampling } = values(form);
    const body = { model: model.value, messages, stream: true, ...sampling };
    body.stream_options = { include_usage: true };
    if (system) body.messages = [{ role: "system", content: system }, ...messages];
    if (stop) body.stop = stop.split(",").map((one) => one.trim()).filter(Boolean);
    if (tools) {
      const given = json(tools, "Tools");
      body.tools = given.map((one) => (one.function ? one : { type: "function", function: one }));
    }
    if (schema) {
      const json_schema = { name: "answer", schema: json(schema, "JSON schema") };
      body.response_format = { type: "json_schema", json_schema };
    }
    return body;
  }

  async function answer() {
    const body = request();
    show(panel, PATH, body);
    stopping = new AbortController();
    byId("stop").disabled = false;
    const turn = new Turn(log);
    try {
      const response = await post(PATH, body, stopping.signal);
      for await (const event of events(response)) turn.add(event);
    } finally {
      byId("stop").disabled = true;
      if (turn.hasContent) messages.push(turn.end(answerTools));
      else turn.remove();
    }
  }

  async function answerTools(results) {
    messages.push(...results);
    await answer();
  }

  onSubmit(byId("compose"), async () => {
    const text = box.value.trim();
    if (!text && !files.files.length) return;
    request(); // a wrong setting is reported before the message is taken
    const pictures = await Promise.all([...files.files].map(address));
    const parts = pictures.map((url) => ({ type: "image_url", image_url: { url } }));
    const content = parts.length ? [{ type: "text", text }, ...parts] : text;
    const before = messages.length;
    messages.push({ role: "user", content });
    const images = pictures.map((src) => element("img", { src, alt: "attached image" }));
    const asked = element("div", { className: "turn user" }, element("b", { textContent: "You" }), text, ...images);
    log.append(asked);
    box.value = "";
    try {
      await answer();
    } catch (error) {
      // a question without an answer is taken back, so that the next request does not repeat it
      if (messages.length === before + 1) {
        messages.pop();
        asked.remove();
        box.value = text;
      }
      throw error;
    }
    files.value = "";
  });
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("compose").requestSubmit();
  });
  byId("stop").addEventListener("click", () => stopping.abort());
  byId("clear").addEventListener("click", () => {
    stopping.abort();
    messages = [];
    log.replaceChildren();
    byId("chat-facts").textContent = "";
  });
}

// One answer while it arrives.
class Turn {
  constructor(log) {
    this.log = log;
    this.start = performance.now();
    this.first = null;
    this.text = "";
    this.calls = [];
    this.words = element("span");
    this.thought = element("div", { className: "thought", hidden: true });
    const who = element("b", { textContent: "Model" });
    this.place = element("div", { className: "turn" }, who, this.thought, this.words);
    log.append(this.place);
  }

  get hasContent() {
    return Boolean(this.text || this.calls.length || this.thought.textContent);
  }

  remove() {
    this.place.remove();
  }

  add(event) {
    const choice = event.choices[0];
    if (choice) this.addDelta(choice.delta);
    if (event.usage) this.showFacts(event.usage);
    if (choice?.finish_reason === "length") {
      this.place.append(element("div", { className: "quiet", textContent: "Cut at max tokens." }));
    }
    this.log.scrollTop = this.log.scrollHeight;
  }

  addDelta(delta) {
    if (delta.reasoning) {
      this.thought.hidden = false;
      this.thought.textContent += delta.reasoning;
    }
    if (delta.content) {
      this.text += delta.content;
      this.words.textContent = this.text;
    }
    for (const part of delta.tool_calls ?? []) {
      const call = (this.calls[part.index] ??= {
        id: part.id, type: "function", function: { name: "", arguments: "" },
      });
      call.function.name += part.function?.name ?? "";
      call.function.arguments += part.function?.arguments ?? "";
    }
    if (this.first === null && (delta.content || delta.reasoning || delta.tool_calls)) {
      this.first = performance.now() - this.start;
    }
  }

  showFacts(usage) {
    const total = performance.now() - this.start;
    const rate = (usage.completion_tokens / Math.max(total - this.first, 1)) * 1000;
    byId("chat-facts").textContent =
      `${count(usage.prompt_tokens)} prompt + ${count(usage.completion_tokens)} completion tokens · ` +
      `first token after ${count(Math.round(this.first ?? total))} ms · ${count(Math.round(rate))} tokens/s`;
  }

  // The message for the conversation. `onResults` gets the messages with the tools' results.
  end(onResults) {
    const message = { role: "assistant", content: this.text || null };
    if (this.calls.length) {
      message.tool_calls = this.calls;
      this.place.append(toolForm(this.calls, onResults));
    }
    return message;
  }
}

function toolForm(calls, onResults) {
  const form = element("form", { className: "tool" });
  const inputs = calls.map((call) => {
    const input = element("input");
    const name = `${call.function.name}(${call.function.arguments}) returns `;
    form.append(element("label", {}, element("code", { textContent: name }), input), element("br"));
    return input;
  });
  form.append(element("button", { type: "submit", textContent: "Send the results" }));
  onSubmit(form, async () => {
    const results = calls.map((call, number) => ({
      role: "tool", tool_call_id: call.id, content: inputs[number].value,
    }));
    await onResults(results);
    for (const field of form.elements) field.disabled = true;
  });
  return form;
}

const address = (file) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error(`${file.name} cannot be read`));
    reader.readAsDataURL(file);
  });
