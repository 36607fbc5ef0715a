// One control per field that is no medium. Each gives {element, get(), set(value)}; get() is undefined when left empty.

import { h, words } from "./dom.js";
import { bounds, fieldsOf } from "./schema.js";

/** The control of a field with its label and description. */
export function control(field, id = `field-${field.name}`) {
  const make = { select, switch: toggle, number: numeric, text, strings, group, json }[field.control];
  const inner = make(field, id);
  const hint = field.schema.description ?? "";
  const hintId = `${id}-hint`;
  if (hint && inner.input) inner.input.setAttribute("aria-describedby", hintId);
  const label =
    inner.input === null
      ? h("span", { class: "label", text: words(field.name) })
      : h("label", { class: "label", for: id, text: words(field.name) });
  const element = h(
    inner.input === null ? "fieldset" : "div",
    { class: `field field-${field.control}`, "data-field": field.name },
    inner.input === null ? h("legend", {}, label) : label,
    inner.element,
    hint ? h("p", { class: "hint", id: hintId, text: hint }) : null,
  );
  if (field.schema.default !== undefined && field.schema.default !== null) inner.set(field.schema.default);
  return { element, get: inner.get, set: inner.set, focus: () => inner.input?.focus() };
}

function numeric(field, id) {
  const { min, max } = bounds(field.schema);
  const whole = field.schema.type === "integer";
  const ranged = min !== null && max !== null;
  const step = field.schema.multipleOf ?? (whole ? 1 : "any");
  const input = h("input", { type: "number", id, step, min, max, inputmode: whole ? "numeric" : "decimal", class: "input" });
  const get = () => (input.value.trim() === "" ? undefined : input.valueAsNumber);
  if (!ranged || field.inGroup) return { element: input, input, get, set: (value) => (input.value = value) };

  // A range over several decades is walked in equal ratios: otherwise 1 to 1000 has no room for 5.
  const ratio = min > 0 && max / min >= 100;
  const position = (value) => (ratio ? Math.log(value / min) / Math.log(max / min) : (value - min) / (max - min));
  const valueAt = (at) => {
    const raw = ratio ? min * (max / min) ** at : min + (max - min) * at;
    return whole ? Math.round(raw) : Number(raw.toPrecision(3));
  };
  const slider = h("input", { type: "range", min: 0, max: 1, step: 0.001, class: "slider", "aria-label": words(field.name) });
  const paint = () => {
    const value = Math.min(max, Math.max(min, get() ?? min));
    slider.value = position(value);
    slider.style.setProperty("--at", `${slider.value * 100}%`);
    slider.setAttribute("aria-valuetext", String(value));
  };
  slider.addEventListener("input", () => {
    input.value = valueAt(Number(slider.value));
    slider.style.setProperty("--at", `${slider.value * 100}%`);
    slider.setAttribute("aria-valuetext", input.value);
  });
  slider.addEventListener("keydown", (event) => {
    const way = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!way || !whole) return;
    event.preventDefault();
    input.value = Math.min(max, Math.max(min, (get() ?? min) + way));
    paint();
  });
  input.addEventListener("input", paint);
  const set = (value) => {
    input.value = value;
    paint();
  };
  paint();
  return { element: h("div", { class: "slider-row" }, slider, input), input, get, set };
}

function toggle(field, id) {
  const input = h("input", { type: "checkbox", role: "switch", id, class: "switch" });
  const untouched = field.schema.default === undefined && !field.required;
  let touched = false;
  input.addEventListener("change", () => (touched = true));
  return {
    element: input,
    input,
    get: () => (untouched && !touched ? undefined : input.checked),
    set: (value) => {
      touched = true;
      input.checked = Boolean(value);
    },
  };
}

function select(field, id) {
  const values = field.schema.enum ?? [field.schema.const];
  const free = !field.required && !values.includes(field.schema.default);
  const input = h(
    "select",
    { id, class: "input" },
    free ? h("option", { value: "", text: "Not set" }) : null,
    values.map((value, i) => h("option", { value: String(i), text: String(value) })),
  );
  return {
    element: input,
    input,
    get: () => (input.value === "" ? undefined : values[Number(input.value)]),
    set: (value) => (input.value = String(values.indexOf(value))),
  };
}

function text(field, id) {
  const short = (field.schema.maxLength ?? Infinity) <= 80 || field.inGroup;
  const common = { id, class: "input", maxlength: field.schema.maxLength, spellcheck: "false" };
  const input = short ? h("input", { type: "text", ...common }) : h("textarea", { rows: field.isSubject ? 6 : 2, ...common });
  return { element: input, input, get: () => (input.value === "" ? undefined : input.value), set: (value) => (input.value = value) };
}

function strings(field, id) {
  const input = h("input", { type: "text", id, class: "input", placeholder: "One, another, a third", spellcheck: "false" });
  const get = () => {
    const parts = input.value.split(",").map((part) => part.trim()).filter(Boolean);
    return parts.length ? parts : undefined;
  };
  return { element: input, input, get, set: (value) => (input.value = value.join(", ")) };
}

function group(field, id) {
  const inner = fieldsOf(field.schema, field.whole).map((each) => ({
    name: each.name,
    ...control({ ...each, inGroup: true }, `${id}-${each.name}`),
  }));
  const get = () => {
    const found = inner.map(({ name, get: read }) => [name, read()]).filter(([, value]) => value !== undefined);
    return found.length ? Object.fromEntries(found) : undefined;
  };
  const set = (value) => inner.forEach((each) => each.name in value && each.set(value[each.name]));
  return { element: h("div", { class: "group" }, inner.map((each) => each.element)), input: null, get, set };
}

function json(field, id) {
  const empty = field.schema.type === "array" ? "[]" : "{}";
  const input = h("textarea", { id, rows: 4, class: "input code", placeholder: `JSON, e.g. ${empty}`, spellcheck: "false" });
  const check = () => {
    try {
      if (input.value.trim()) JSON.parse(input.value);
      input.setCustomValidity("");
    } catch (error) {
      input.setCustomValidity(`Not JSON: ${error.message}`);
    }
  };
  input.addEventListener("input", check);
  const get = () => {
    check();
    if (input.value.trim() === "" || !input.checkValidity()) return undefined;
    return JSON.parse(input.value);
  };
  return { element: input, input, get, set: (value) => (input.value = JSON.stringify(value, null, 1)) };
}
