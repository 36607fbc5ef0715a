// An answer by its shape: bars, pictures, boxes, tables, text. Chosen by the schema, never by the service.

import { h, icon, number, percent, words } from "./dom.js";
import { propertyOf, resolve, viewOf } from "./schema.js";
import { boxesView } from "./boxes.js";

const FIRST = 50;
const WIDE = ["boxes", "media", "table", "items", "json"];
const DRAWN = { bars, boxes, box, media, text, number: figure, boolean, object, table, list, items, nothing, json: raw };

/**
 * The view of an answer. `schema`: of the Output; `context`: {whole, picture}, where `picture` is the address of
 * the photo that boxes are drawn over, or null.
 */
export function view(value, schema, context) {
  const own = resolve(schema, context.whole);
  return DRAWN[viewOf(own, context.whole, value)](value, own, context);
}

function nothing() {
  return h("p", { class: "nothing", text: "Nothing found." });
}

function bars(rows) {
  const most = Math.max(1, ...rows.map((row) => row.score));
  const one = (row) =>
    h(
      "li",
      { class: "bar" },
      h("span", { class: "bar-label", text: row.label }),
      h("span", { class: "bar-score", text: most > 1 ? number(row.score) : percent(row.score) }),
      h("span", { class: "bar-track", "aria-hidden": "true" }, h("span", { class: "bar-fill", style: { width: `${Math.max(0, (row.score / most) * 100)}%` } })),
    );
  return long(rows, one, (children) => h("ol", { class: "bars" }, children));
}

/** The first rows, and a button for the rest. */
function long(rows, one, wrap) {
  const list = wrap(rows.slice(0, FIRST).map(one));
  if (rows.length <= FIRST) return list;
  const more = h("button", { type: "button", class: "button quiet small" }, `Show all ${number(rows.length)}`);
  more.addEventListener("click", () => {
    (list.tBodies?.[0] ?? list).append(...rows.slice(FIRST).map(one));
    more.remove();
  });
  return h("div", { class: "long" }, list, more);
}

function boxes(rows, schema, context) {
  return boxesView(rows, context.picture, (rest) => h("div", { class: "box-more" }, facts(rest, resolve(schema.items, context.whole), context)));
}

function box(value, schema, context) {
  return boxesView([value], context.picture, (rest) => h("div", { class: "box-more" }, facts(rest, schema, context)));
}

function media(value) {
  const address = typeof value === "string" ? value : URL.createObjectURL(value);
  const type = typeof value === "string" ? (value.match(/^data:([^;,]+)/)?.[1] ?? "") : value.type;
  const suffix = type.split("/")[1]?.replace("jpeg", "jpg").replace(/\W.*/, "") || "bin";
  const download = h("a", { class: "button quiet", href: address, download: `answer.${suffix}` }, icon("download"), "Download");
  let shown = h("p", { class: "hint", text: type });
  if (type.startsWith("image/")) shown = h("img", { class: "answer-picture", src: address, alt: "The answer, a picture" });
  if (type.startsWith("audio/")) shown = h("audio", { src: address, controls: true });
  return h("figure", { class: "answer-media" }, shown, h("figcaption", {}, download));
}

function text(value) {
  return h("p", { class: value.length > 160 ? "answer-text" : "answer-text short", text: value === "" ? "(an empty text)" : value });
}

function figure(value) {
  return h("p", { class: "answer-number", text: number(value, 7) });
}

function boolean(value) {
  return h("p", { class: "answer-number", text: value ? "Yes" : "No" });
}

/** Properties as a definition table. */
function facts(value, schema, context) {
  return h(
    "dl",
    { class: "facts" },
    Object.entries(value).map(([name, inner]) => {
      const own = propertyOf(schema, name, context.whole);
      const isWide = WIDE.includes(viewOf(own, context.whole, inner));
      return h("div", { class: isWide ? "wide" : null }, h("dt", { text: words(name) }), h("dd", {}, cell(inner, own, context)));
    }),
  );
}

function object(value, schema, context) {
  return Object.keys(value).length ? facts(value, schema, context) : nothing();
}

/** A value where there is little room: scalars as words, the rest by its own view. */
function cell(value, schema, context) {
  if (value === null || value === undefined) return h("span", { class: "muted", text: "none" });
  if (typeof value === "number") return h("span", { class: "figure", text: number(value) });
  if (typeof value === "boolean") return value ? "Yes" : "No";
  if (typeof value === "string" && !value.startsWith("data:")) return h("span", { text: value });
  return view(value, schema, context);
}

function table(rows, schema, context) {
  const item = resolve(schema.items, context.whole);
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const numeric = (name) => rows.every((row) => typeof row[name] === "number");
  const one = (row) => h("tr", {}, names.map((name) => h("td", { class: numeric(name) ? "right" : null }, cell(row[name], propertyOf(item, name, context.whole), context))));
  const head = h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col", class: numeric(name) ? "right" : null, text: words(name) }))));
  return h("div", { class: "scroll" }, long(rows, one, (children) => h("table", {}, head, h("tbody", {}, children))));
}

function list(values) {
  return long(values, (value) => h("li", { text: typeof value === "number" ? number(value) : value }), (children) => h("ol", { class: "chips" }, children));
}

function items(values, schema, context) {
  const item = resolve(schema.items, context.whole);
  return h("ol", { class: "items" }, values.map((value, i) => h("li", {}, cell(value, schema.prefixItems?.[i] ?? item, context))));
}

/** Anything as JSON that reads well. */
export function raw(value) {
  const short = (key, inner) => (typeof inner === "string" && inner.length > 400 ? `${inner.slice(0, 80)}… (${inner.length} characters)` : inner);
  return h("pre", { class: "snippet json", tabindex: 0 }, h("code", { text: JSON.stringify(value, short, 2) }));
}
