// A chart of the gateway, coloured by the stylesheet; the table below it says the same.
import { post } from "../playground/api.js";
import { element } from "../playground/dom.js";

export const SERIES = 6;
const MOST = 1000;

// labels: of the bars or points; series: [{name, values}], a value for each label.
export async function chart({ title, unit, labels, series, kind = "bars", width = 640 }) {
  const from = Math.max(0, labels.length - MOST);
  const body = {
    title: title.slice(0, 200), unit, kind, width: Math.min(2000, Math.max(280, Math.round(width))), labels: labels.slice(from),
    series: series.map((one) => ({ name: one.name.slice(0, 200), values: one.values.slice(from) })),
  };
  const text = await (await post("/charts", body)).text();
  const picture = document.importNode(new DOMParser().parseFromString(text, "image/svg+xml").documentElement, true);
  const keys = series.map((one, number) => element("li", { dir: "auto" }, element("span", { className: `swatch color-${number}` }), one.name));
  const cut = from ? `; the last ${MOST.toLocaleString("en-US")} of ${labels.length.toLocaleString("en-US")} are drawn` : "";
  const measured = element("figcaption", { textContent: title.slice(0, 1).toUpperCase() + title.slice(1) + cut });
  return element("figure", {}, measured, picture, element("ul", { className: "legend" }, ...keys));
}
