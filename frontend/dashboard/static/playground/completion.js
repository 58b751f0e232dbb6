// Completion: each token with its probability, and what else the model considered.
import { post } from "./api.js";
import { byId, element, onSubmit, values } from "./dom.js";
import { show } from "./snippet.js";

const PATH = "/v1/completions";

export function setUpCompletion(panel) {
  const form = panel.querySelector(".settings");
  const output = panel.querySelector(".output");
  const alternatives = panel.querySelector("[data-alternatives]");
  onSubmit(panel.querySelector(".compose"), async () => {
    const model = form.querySelector("[data-models]").value;
    const body = { model, prompt: byId("prompt").value, logprobs: 5, ...values(form) };
    show(panel, PATH, body);
    const answer = await (await post(PATH, body)).json();
    const { text, logprobs } = answer.choices[0];
    alternatives.replaceChildren();
    output.replaceChildren(...(logprobs ? tokens(logprobs, alternatives) : [text]));
  });
}

function tokens(logprobs, alternatives) {
  return logprobs.tokens.map((text, number) => {
    const probability = Math.exp(logprobs.token_logprobs[number] ?? 0);
    const token = element("button", { type: "button", className: "token", textContent: text });
    token.style.setProperty("--probability", probability.toFixed(3));
    token.title = `${(100 * probability).toFixed(1)} %`;
    token.setAttribute("aria-expanded", "false");
    token.addEventListener("click", () => {
      for (const other of token.parentElement.children) other.ariaExpanded = "false";
      token.ariaExpanded = "true";
      alternatives.replaceChildren(bars(text, logprobs.top_logprobs?.[number] ?? {}));
    });
    return token;
  });
}

function bars(text, top) {
  const sorted = Object.entries(top).sort((one, other) => other[1] - one[1]);
  const rows = sorted.map(([name, logprob]) => {
    const probability = Math.exp(logprob);
    const meter = element("meter", { min: 0, max: 1, value: probability });
    meter.setAttribute("aria-label", `probability of ${JSON.stringify(name)}`);
    const share = element("span", { className: "number" }, `${(100 * probability).toFixed(1)} %`);
    return element("li", {}, element("code", { textContent: JSON.stringify(name) }), meter, share);
  });
  const list = element("ul", { className: "bars" }, ...rows);
  return element("div", {}, `In place of ${JSON.stringify(text)}:`, list);
}
