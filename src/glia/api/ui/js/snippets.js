// The same request from a shell, from `glia predict` and from Python.

import { h, copyButton, tabs } from "./dom.js";
import * as api from "./api.js";
import { mediaOf } from "./schema.js";
import { changedParameters } from "./form.js";

const STAND_IN = { image: "photo.jpg", audio: "speech.wav", video: "film.mp4" };

/** Text as one word of a POSIX shell. */
export function quote(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${String(text).replaceAll("'", "'\\''")}'`;
}

const nameOf = (field, value) => (value instanceof File ? value.name : (STAND_IN[field.media] ?? "file"));
const asText = (value) => (typeof value === "string" ? value : JSON.stringify(value));
const listed = (value) => (Array.isArray(value) ? value : [value]);

/** What the subject is called: names of files, or its text. */
function subjectNames(subject, values) {
  const value = values[subject.name];
  if (!subject.media) return [value === undefined ? (subject.control === "text" ? "Your text" : "{}") : asText(value)];
  const given = value === undefined ? (subject.many ? [null, null] : [null]) : listed(value);
  return given.map((file, i) => {
    const name = nameOf(subject, file);
    return file === null && i ? name.replace(".", `-${i + 1}.`) : name;
  });
}

function curlLine(service, { fields, subject }, values, keyed) {
  const where = api.serviceAddress(service.name);
  const key = keyed ? ' -H "Authorization: Bearer $GLIA_API_KEY"' : "";
  const out = mediaOf(service.output_schema) ? " -o answer.png" : "";
  const extra = changedParameters(fields, subject, values);
  const names = subjectNames(subject, values);
  const parts = (field) => listed(values[field.name]).map((item) => ` -F ${quote(`${field.name}=${item instanceof File ? `@${item.name}` : asText(item)}`)}`);
  if (subject.media && (subject.many || extra.some((field) => field.media))) {
    const files = names.map((name) => ` -F ${quote(`${subject.name}=@${name}`)}`);
    return `curl ${quote(where)}${key}${[...files, ...extra.flatMap(parts)].join("")}${out}`;
  }
  const isSimple = (value) => listed(value).every((item) => Object(item) !== item);
  if (subject.control !== "text" && !subject.media && !extra.every((field) => isSimple(values[field.name]))) {
    return `curl ${quote(where)}${key} -H 'Content-Type: application/json' -d ${quote(JSON.stringify(values))}${out}`;
  }
  const pairs = extra.flatMap((field) => listed(values[field.name]).map((item) => `${field.name}=${encodeURIComponent(asText(item))}`));
  const target = quote(where + (pairs.length ? `?${pairs.join("&")}` : ""));
  if (subject.media) return `curl ${target}${key} --data-binary ${quote(`@${names[0]}`)}${out}`;
  if (subject.control === "text") return `curl ${target}${key} -H 'Content-Type: text/plain' --data-binary ${quote(names[0])}${out}`;
  const body = JSON.stringify({ [subject.name]: values[subject.name] ?? {} });
  return `curl ${target}${key} -H 'Content-Type: application/json' -d ${quote(body)}${out}`;
}

function shellLine(service, { fields, subject }, values) {
  const flags = changedParameters(fields, subject, values).flatMap((field) =>
    listed(values[field.name]).map((item) => ` --${field.name.replaceAll("_", "-")} ${quote(item instanceof File ? item.name : asText(item))}`),
  );
  const names = subjectNames(subject, values).map(quote).join(" ");
  return `glia predict ${service.name} ${names}${flags.join("")}${mediaOf(service.output_schema) ? " -o answer.png" : ""}`;
}

/** A JSON value as Python writes it. */
export function python(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (value instanceof File) return JSON.stringify(value.name);
  if (typeof value === "object") return `{${Object.entries(value).map(([key, inner]) => `${JSON.stringify(key)}: ${python(inner)}`).join(", ")}}`;
  return JSON.stringify(value);
}

function pythonLines(service, { fields, subject }, values, keyed) {
  const names = subjectNames(subject, values);
  const first = subject.media ? python(subject.many ? names : names[0]) : python(values[subject.name] ?? (subject.control === "text" ? "Your text" : {}));
  const given = changedParameters(fields, subject, values).map((field) => `, ${field.name}=${python(values[field.name])}`);
  const key = keyed ? ', api_key=os.environ["GLIA_API_KEY"]' : "";
  return [
    ...(keyed ? ["import os"] : []),
    "import glia",
    "",
    `client = glia.Client(${JSON.stringify(api.root())}${key})`,
    `answer = client.predict(${JSON.stringify(service.name)}, ${first}${given.join("")})`,
  ].join("\n");
}

/** A command whose words stay whole where a line is long enough for them. */
export function write(code, line) {
  // A flag stays with its value, a quoted text is one word.
  const found = line.match(/(?:-{1,2}[\w-]+ (?!-))?(?:'(?:[^']|'\\'')*'|"[^"]*"|\S)+/g) ?? [line];
  const whole = found.join(" ") === line ? found : [line];
  code.replaceChildren(...whole.flatMap((word, i) => [i ? " " : "", h("span", { class: "word", text: word })]));
}

/** The panel; `update(values)` rewrites it. */
export function snippets(service, form) {
  const curl = h("code", { id: "curl" });
  const shell = h("code", { id: "shell" });
  const py = h("code", { id: "python" });
  const panel = (code) => h("pre", { class: "snippet", tabindex: 0 }, code);
  let keyed = false;
  let latest = {};
  const visible = () => [curl, shell, py].find((code) => !code.closest("[role=tabpanel]").hidden);
  const element = tabs(
    "The same from elsewhere",
    [["curl", panel(curl)], ["Shell", panel(shell)], ["Python", panel(py)]],
    copyButton(() => visible().textContent),
  );
  const update = (values) => {
    latest = values;
    write(curl, curlLine(service, form, values, keyed));
    write(shell, shellLine(service, form, values));
    py.textContent = pythonLines(service, form, values, keyed);
  };
  api.keyed().then((needs) => {
    keyed = needs;
    update(latest);
  });
  return { element, update };
}
