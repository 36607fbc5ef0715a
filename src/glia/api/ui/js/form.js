// A form made from the schema of a request: the subject large, parameters under Options.

import { h } from "./dom.js";
import { fieldsOf } from "./schema.js";
import { control } from "./controls.js";
import { dropZone, sampleRow } from "./drop.js";

/**
 * `service`: as the server describes it. `submit()` is called when the form is sent, by hand or by a dropped file.
 * Gives {element, run, fields, values(), missing(), isAuto, subject}.
 */
export function buildForm(service, submit, fail) {
  const fields = fieldsOf(service.input_schema);
  const subject = fields.find((field) => field.name === service.subject?.field) ?? fields[0];
  const isAuto = Boolean(subject?.media) && !subject.many;
  const parts = new Map();
  let ready = false;
  const changed = (field) => {
    if (!ready) return;
    form.dispatchEvent(new CustomEvent("fieldchange"));
    if (isAuto && field === subject && parts.get(subject.name).get() !== undefined && missing().length === 0) submit();
  };
  for (const field of fields) {
    const isSubject = field === subject;
    parts.set(
      field.name,
      field.control === "media" ? dropZone(field, isSubject, () => changed(field), fail) : control({ ...field, isSubject }),
    );
  }
  const part = (field) => parts.get(field.name);

  const values = () => Object.fromEntries(fields.map((field) => [field.name, part(field).get()]).filter(([, value]) => value !== undefined));
  const missing = () => {
    const given = values();
    return fields.filter((field) => (field.required || field === subject) && given[field.name] === undefined);
  };

  const upFront = fields.filter((field) => field === subject || field.media || field.required);
  const options = fields.filter((field) => !upFront.includes(field));
  const run = h("button", { type: "submit", id: "run", class: "button primary" }, "Run");
  const pictures = upFront.filter((field) => field.media === "image");
  const sampled = pictures.length
    ? sampleRow((file) => {
        const open = pictures.find((field) => part(field).get() === undefined) ?? pictures[0];
        const several = pictures.find((field) => field.many) ?? open;
        part(pictures.length === 1 ? several : open).add([file]);
      }, fail)
    : null;

  const form = h(
    "form",
    { class: "form", novalidate: true, "aria-label": `Ask ${service.name}` },
    upFront.map((field) => part(field).element),
    sampled,
    exampleButton(service, fields, parts),
    options.length ? optionsArea(options.map((field) => part(field).element)) : null,
    h("div", { class: "run-row" }, run, h("span", { class: "hint run-hint", text: subject?.media ? "" : "Ctrl + Enter runs too." })),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const absent = missing();
    const broken = form.querySelector(".input:invalid");
    if (broken) {
      broken.reportValidity();
      return;
    }
    if (absent.length) {
      part(absent[0]).focus();
      part(absent[0]).element.classList.add("wanted");
      setTimeout(() => part(absent[0]).element.classList.remove("wanted"), 1200);
      return;
    }
    submit();
  });
  form.addEventListener("input", () => form.dispatchEvent(new CustomEvent("fieldchange")));
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  ready = true;

  /** Files dropped or pasted anywhere on the page. */
  const take = (files) => {
    const media = fields.filter((field) => field.media);
    const open = media.find((field) => part(field).get() === undefined) ?? media[0];
    if (open) part(open).add(files);
    return Boolean(open);
  };
  return { element: form, run, fields, subject, isAuto, values, missing, take };
}

function optionsArea(elements) {
  return h("details", { class: "options", open: true }, h("summary", { text: "Options" }), h("div", { class: "options-body" }, elements));
}

/** Fills the form with the model's own example, where that needs no file. */
function exampleButton(service, fields, parts) {
  const given = service.example?.input;
  if (!given) return null;
  const plain = fields.filter((field) => !field.media && given[field.name] !== undefined);
  if (fields.some((field) => field.media && field.required) || !plain.length) return null;
  const button = h("button", { type: "button", class: "button quiet small example" }, "Fill in the example");
  button.addEventListener("click", () => {
    plain.forEach((field) => parts.get(field.name).set(given[field.name]));
    button.form.dispatchEvent(new CustomEvent("fieldchange"));
  });
  return button;
}

/** Values as the server reads them: a multipart form where there are files, else JSON. */
export async function bodyOf(fields, values) {
  const hasMedia = fields.some((field) => field.media && values[field.name] !== undefined);
  const isDeep = (value) => Array.isArray(value) && value.some((item) => Object(item) === item);
  const deep = fields.some((field) => !field.media && isDeep(values[field.name]));
  if (!hasMedia || deep) {
    // Lists of lists have no form in multipart: then files travel as data: URLs.
    const pairs = fields.filter((field) => values[field.name] !== undefined).map(async (field) => [field.name, await plain(values[field.name])]);
    return Object.fromEntries(await Promise.all(pairs));
  }
  const form = new FormData();
  for (const field of fields) {
    const value = values[field.name];
    if (value === undefined) continue;
    for (const item of Array.isArray(value) ? value : [value]) {
      if (item instanceof File) form.append(field.name, item, item.name);
      else form.append(field.name, typeof item === "string" ? item : JSON.stringify(item));
    }
  }
  return form;
}

async function plain(value) {
  if (Array.isArray(value)) return Promise.all(value.map(plain));
  if (!(value instanceof File)) return value;
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result.replace(/^data:(;base64)?,/, "data:application/octet-stream;base64,")));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(value);
  });
}

/** The parameters that differ from their defaults, for commands. */
export function changedParameters(fields, subject, values) {
  return fields.filter((field) => {
    const value = values[field.name];
    return field !== subject && value !== undefined && JSON.stringify(value) !== JSON.stringify(field.schema.default ?? null);
  });
}

