// Stacked bars, drawn as SVG: each has its numbers as a title, and the table below says the same.
import { element } from "../playground/dom.js";
import { count } from "./parts.js";

const WIDTH = 640;
const HEIGHT = 160;
const BASE = 132;
const LEFT = 52;
export const SERIES = 6;

function svg(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const short = (value) => Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 }).format(value);

// A round number that the highest bar does not exceed.
function ceiling(value) {
  const unit = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return unit * [1, 2, 5, 10].find((one) => one * unit >= value);
}

function axis(top) {
  return [0, 0.5, 1].flatMap((part) => {
    const y = BASE - part * (BASE - 12);
    const line = svg("line", { x1: LEFT, x2: WIDTH, y1: y, y2: y, class: "grid" });
    return [line, svg("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, short(part * top))];
  });
}

// starts: labels of the bars; series: [{name, values}], a value for each bar.
export function bars(label, starts, series, unit) {
  const sums = starts.map((_, at) => series.reduce((sum, one) => sum + one.values[at], 0));
  const top = ceiling(Math.max(...sums));
  const step = (WIDTH - LEFT) / starts.length;
  const drawn = starts.flatMap((start, at) => {
    let y = BASE;
    return series.map((one, number) => {
      const height = (one.values[at] / top) * (BASE - 12);
      y -= height;
      const box = { x: LEFT + at * step, y, width: Math.min(48, Math.max(1, step - 2)), height, class: `series${number % SERIES}` };
      return svg("rect", box, svg("title", {}, `${start}, ${one.name}: ${count(one.values[at])} ${unit}`));
    });
  });
  const every = Math.ceil(starts.length / 6);
  const names = starts.flatMap((start, at) =>
    at % every ? [] : [svg("text", { x: LEFT + at * step, y: BASE + 18 }, start)],
  );
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart", role: "img", "aria-label": label }, ...axis(top), ...drawn, ...names);
  const keys = series.map((one, number) =>
    element("li", {}, element("span", { className: `swatch series${number % SERIES}` }), one.name),
  );
  return element("figure", {}, picture, element("ul", { className: "legend" }, ...keys));
}
