// Curves over the last two minutes: SVG paths that stretch with their panel, and labels in HTML that do not.

import { h, svg } from "./dom.js";

export const SECONDS = 120;
const HEIGHT = 100;

/** The next of 1, 2, 5, 10, 20, ... that is not below the value. */
export function ceiling(value) {
  const decade = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * decade).find((edge) => edge >= value * 0.999) ?? 10 * decade;
}

/** The value below which `share` of the known ones lie, or 0. */
function quantile(values, share) {
  const known = values.filter((value) => value !== null).sort((a, b) => a - b);
  return known[Math.min(known.length - 1, Math.floor(known.length * share))] ?? 0;
}

/** The height of the axis, and the peak where it is cut off: a cold start must not flatten two minutes. */
export function heightOf(series, least) {
  const highest = (share) => Math.max(least, ...series.map((values) => quantile(values, share)));
  const [most, usual] = [highest(1), ceiling(highest(0.97))];
  return most > 3 * usual ? { top: usual, peak: most } : { top: ceiling(most), peak: null };
}

/** An SVG path through the values; it breaks where there is none, and a value alone is a dot. */
export function pathOf(values, top) {
  let path = "";
  let drawing = false;
  values.forEach((value, x) => {
    if (value === null) {
      drawing = false;
      return;
    }
    const y = (HEIGHT * (1 - Math.min(value, top) / top)).toFixed(2);
    path += drawing ? `L${x} ${y}` : `M${x} ${y}h0`;
    drawing = true;
  });
  return path;
}

/** The same, closed down to the axis, for a filled area. */
function areaOf(values, top) {
  return values.length ? `M0 ${HEIGHT}${values.map((value, x) => `L${x} ${(HEIGHT * (1 - Math.min(value ?? 0, top) / top)).toFixed(2)}`).join("")}L${values.length - 1} ${HEIGHT}z` : "";
}

/**
 * A panel with curves. `lines`: [{name, className, filled}]; `format(value)`: a value in words, `tick(value)`: the same on
 * the axis; `least`: the smallest height of the axis. Gives {element, draw(series, current)}: SECONDS values or nulls for each line, the last one
 * the newest; and what each line's figure says while nobody points at the curve.
 */
export function curves(title, lines, { format, tick, least }) {
  const paths = lines.map(({ className }) => svg("path", { class: `curve ${className}`, "vector-effect": "non-scaling-stroke" }));
  const areas = lines.map(({ className, filled }) => (filled ? svg("path", { class: `curve-area ${className}` }) : null));
  const pointer = svg("line", { class: "curve-pointer", y1: 0, y2: HEIGHT, "vector-effect": "non-scaling-stroke" });
  const grid = [0, HEIGHT / 2].map((y) => svg("line", { class: "curve-grid", x1: 0, x2: SECONDS - 1, y1: y, y2: y, "vector-effect": "non-scaling-stroke" }));
  const drawing = svg("svg", { class: "curve-drawing", viewBox: `0 0 ${SECONDS - 1} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }, grid, areas.filter(Boolean), paths, pointer);
  const ticks = [0, 1, 2].map((i) => h("span", { class: `curve-tick curve-tick-${i}` }));
  const figures = lines.map(() => h("dd", { class: "curve-figure" }));
  const when = h("span", { class: "curve-when" });
  const stage = h("div", { class: "curve-stage" }, drawing, h("div", { "aria-hidden": "true" }, ticks));
  const element = h(
    "section",
    { class: "panel curve-panel", "aria-label": title },
    h("div", { class: "curve-head" }, h("h2", { text: title }), when),
    h("dl", { class: "curve-figures" }, lines.map(({ name, className }, i) => h("div", { class: className }, h("dt", { text: name }), figures[i]))),
    stage,
    h("div", { class: "curve-times", "aria-hidden": "true" }, ["2 min ago", "1 min ago", "now"].map((text) => h("span", { text }))),
  );

  let shown = lines.map(() => []);
  let now = lines.map(() => null);
  let pointed = null;
  let peak = null;
  const words = (value) => (value === null || value === undefined ? "–" : format(value));
  const figure = () => {
    const values = pointed === null ? now : shown.map((values) => values[pointed]);
    figures.forEach((element, i) => (element.textContent = words(values[i])));
    when.textContent = pointed === null ? (peak === null ? "last 10 s" : `last 10 s · peak of 2 min ${format(peak)}`) : `${SECONDS - pointed} s ago`;
    pointer.classList.toggle("on", pointed !== null);
    if (pointed !== null) ["x1", "x2"].forEach((name) => pointer.setAttribute(name, pointed));
  };
  stage.addEventListener("pointermove", (event) => {
    const { left, width } = stage.getBoundingClientRect();
    pointed = Math.max(0, Math.min(SECONDS - 1, Math.round(((event.clientX - left) / width) * (SECONDS - 1))));
    figure();
  });
  stage.addEventListener("pointerleave", () => {
    pointed = null;
    figure();
  });

  const draw = (series, current) => {
    shown = series;
    now = current;
    const height = heightOf(series, least);
    const { top } = height;
    peak = height.peak;
    series.forEach((values, i) => {
      paths[i].setAttribute("d", pathOf(values, top));
      areas[i]?.setAttribute("d", areaOf(values, top));
    });
    [top, top / 2, 0].forEach((value, i) => (ticks[i].textContent = tick(value)));
    figure();
    const summary = lines.map(({ name }, i) => `${name} ${words(current[i])}`).join(", ");
    drawing.setAttribute("aria-label", `${title} over the last two minutes. Now: ${summary}.`);
  };
  draw(lines.map(() => Array(SECONDS).fill(null)), now);
  return { element, draw };
}
