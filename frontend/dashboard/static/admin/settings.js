// The settings in force, by subject. Secrets are only said to be set.
import { badge, bytes, byId, call, code, element, empty, fail, quiet, ready, table } from "./ui.js";

const text = (one) => (one === null || one === "" ? "–" : typeof one === "object" ? JSON.stringify(one) : String(one));

function value(one) {
  const shown = one.is_secret ? badge(one.value === null ? "not set" : "set") : code(text(one.value));
  const size = one.id.endsWith("_bytes") && one.value >= 1024 ? [quiet(bytes(one.value))] : [];
  return one.is_default ? [shown, ...size] : [shown, ...size, quiet(one.is_secret ? "" : `default: ${text(one.default)}`)];
}

const box = element("div");
const form = element("form", { className: "filters" });
const search = element("input", { type: "search", placeholder: "name or meaning" });
const changed = element("input", { type: "checkbox" });
form.append(element("label", {}, "Search", search), element("label", { className: "check" }, changed, "Only changed settings"));
form.addEventListener("submit", (event) => event.preventDefault());

function draw(settings) {
  const words = search.value.toLowerCase();
  const fitting = settings.filter((one) => (!changed.checked || !one.is_default) && `${one.id} ${one.description}`.toLowerCase().includes(words));
  const subjects = [...new Set(fitting.map((one) => one.subject))];
  const sections = subjects.map((subject) => {
    const rows = fitting.filter((one) => one.subject === subject).map((one) => [[code(one.id), quiet(one.variable)], value(one), one.description.replaceAll("`", "")]);
    return element("section", { className: "settings" }, element("h2", { textContent: subject.slice(0, 1).toUpperCase() + subject.slice(1) }), table(`Settings: ${subject}`, ["Setting", "Value", "Meaning"], rows));
  });
  box.replaceChildren(...(sections.length ? sections : [empty(changed.checked && !words ? "Every setting is at its default." : "No setting matches this search.")]));
}

try {
  const { data } = await call("GET", "/admin/settings");
  byId("view").replaceChildren(form, box);
  for (const field of [search, changed]) field.addEventListener("input", () => draw(data));
  draw(data);
  ready();
} catch (error) {
  fail(error);
}
