// Boxes over the photo that they were found in, and the list that goes with them.

import { h, svg, percent, number, words } from "./dom.js";

const HUES = [3, 1, 4, 5, 2, 0];

/** `rows`: objects with `box` in pixels of the upright picture. `more(rest)`: draws what a row holds besides. */
export function boxesView(rows, picture, more) {
  const kinds = [...new Set(rows.map(nameOf))];
  const hue = (row) => `hue-${HUES[kinds.indexOf(nameOf(row)) % HUES.length]}`;
  const shapes = [];
  const entries = [];
  const light = (index) => {
    [shapes, entries].forEach((set) => set.forEach((element, i) => element.classList.toggle("lit", i === index)));
    stage?.classList.toggle("choosing", index >= 0);
  };
  let stage = null;
  if (picture) {
    const photo = h("img", { src: picture, alt: "Your picture" });
    const layer = svg("svg", { class: "box-layer", preserveAspectRatio: "none", "aria-hidden": "true" });
    stage = h("div", { class: "box-stage" }, photo, layer);
    photo.addEventListener("load", () => {
      const [width, height] = [photo.naturalWidth, photo.naturalHeight];
      layer.setAttribute("viewBox", `0 0 ${width} ${height}`);
      const size = Math.max(width, height) / 34;
      rows.forEach((row, i) => {
        const shape = shapeOf(row, i, hue(row), size, width);
        shape.addEventListener("pointerenter", () => light(i));
        shape.addEventListener("pointerleave", () => light(-1));
        shapes.push(shape);
      });
      // Large ones first, so that small ones inside them can still be pointed at.
      const area = ({ box }) => (box.xmax - box.xmin) * (box.ymax - box.ymin);
      layer.append(...rows.map((row, i) => [area(row), shapes[i]]).sort(([a], [b]) => b - a).map(([, shape]) => shape));
    });
    photo.addEventListener("error", () => stage.remove());
  }
  rows.forEach((row, i) => {
    const { box, ...rest } = row;
    const { [titleKey(row)]: title, score, ...others } = rest;
    const entry = h(
      "li",
      { class: `box-entry ${hue(row)}`, tabindex: 0, title: `${number(box.xmin)}, ${number(box.ymin)} to ${number(box.xmax)}, ${number(box.ymax)} px` },
      h("span", { class: "box-number", text: String(i + 1) }),
      h("span", { class: "box-name", text: title === undefined ? `Found ${i + 1}` : caption(row) }),
      score === undefined ? null : h("span", { class: "bar-score", text: percent(score) }),
      Object.keys(others).length ? more(others) : null,
    );
    entry.addEventListener("pointerenter", () => light(i));
    entry.addEventListener("pointerleave", () => light(-1));
    entry.addEventListener("focus", () => light(i));
    entry.addEventListener("blur", () => light(-1));
    entries.push(entry);
  });
  return h("div", { class: "boxes" }, stage, h("ol", { class: "box-list" }, entries));
}

/** The property that names a row: its label, or else the first that is a word or a number. */
function titleKey(row) {
  if ("label" in row) return "label";
  return Object.keys(row).find((key) => key !== "score" && ["string", "number"].includes(typeof row[key]));
}

const nameOf = (row) => String("label" in row ? row.label : "");

function caption(row) {
  const key = titleKey(row);
  const value = row[key];
  if (typeof value === "string") return value;
  return `${words(key)} ${number(value, 3)}`;
}

function shapeOf(row, i, hue, size, width) {
  const { xmin, ymin, xmax, ymax } = row.box;
  const name = titleKey(row) === undefined ? String(i + 1) : caption(row);
  const wide = Math.min(width, size * (0.62 * name.length + 0.9));
  const left = Math.max(0, Math.min(xmin, width - wide));
  const top = ymin > size * 1.5 ? ymin - size * 1.5 : ymin;
  const frame = { x: xmin, y: ymin, width: Math.max(1, xmax - xmin), height: Math.max(1, ymax - ymin), rx: size / 5, "vector-effect": "non-scaling-stroke" };
  return svg(
    "g",
    { class: `box ${hue}` },
    svg("rect", { class: "box-halo", ...frame }),
    svg("rect", { class: "box-edge", ...frame }),
    svg("rect", { class: "box-tag", x: left, y: top, width: wide, height: size * 1.5, rx: size / 4 }),
    svg("text", { class: "box-text", x: left + wide / 2, y: top + size * 1.08, "text-anchor": "middle", "font-size": size, textLength: wide - size * 0.7, lengthAdjust: "spacingAndGlyphs", text: name }),
  );
}
