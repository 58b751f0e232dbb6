// Embeddings: the cosine similarity of each pair of texts.
import { post } from "./api.js";
import { byId, element, onSubmit } from "./dom.js";
import { show } from "./snippet.js";

const PATH = "/v1/embeddings";
const MAX_TEXTS = 30;

export function setUpEmbeddings(panel) {
  const output = panel.querySelector(".output");
  onSubmit(panel.querySelector(".compose"), async () => {
    const input = byId("texts").value.split("\n").map((one) => one.trim()).filter(Boolean);
    if (input.length < 2) throw new Error("Texts: write at least two, one on each line.");
    if (input.length > MAX_TEXTS) throw new Error(`Texts: at most ${MAX_TEXTS} fit the matrix.`);
    const body = { model: panel.querySelector("[data-models]").value, input };
    show(panel, PATH, body);
    const answer = await (await post(PATH, body)).json();
    output.replaceChildren(matrix(input, answer.data.map((one) => one.embedding)));
  });
}

function matrix(texts, vectors) {
  const head = element("tr", {}, element("td"), ...texts.map((_, number) => column(number)));
  const rows = vectors.map((one, number) => {
    const name = element("th", { scope: "row", title: texts[number] });
    name.textContent = `${number + 1}. ${texts[number]}`;
    return element("tr", {}, name, ...vectors.map((other) => cell(cosine(one, other))));
  });
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
}

const column = (number) => element("th", { scope: "col", textContent: String(number + 1) });

function cell(value) {
  const made = element("td", { textContent: value.toFixed(2) });
  made.style.setProperty("--value", Math.max(value, 0).toFixed(3));
  return made;
}

function cosine(one, other) {
  const dot = (a, b) => a.reduce((sum, value, index) => sum + value * b[index], 0);
  return dot(one, other) / Math.sqrt(dot(one, one) * dot(other, other));
}
