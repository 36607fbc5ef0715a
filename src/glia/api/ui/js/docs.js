// The API's page, drawn from openapi.json.

import { h, copyButton } from "./dom.js";
import * as api from "./api.js";
import { frame } from "./frame.js";
import { mediaOf, resolve, typeWords } from "./schema.js";
import { quote, write } from "./snippets.js";
import { problemWords } from "./home.js";

const main = document.getElementById("main");
const METHODS = ["get", "post", "put", "patch", "delete"];
const anchor = (text) => text.toLowerCase().replace(/[^a-z0-9._-]+/g, "-").replace(/^-|-$/g, "");

/** Routes by their first tag, those without one first. */
function groupsOf(document_) {
  const groups = new Map([["Server", []]]);
  for (const [path, methods] of Object.entries(document_.paths ?? {})) {
    for (const method of METHODS.filter((name) => methods[name])) {
      const group = methods[method].tags?.[0] ?? "Server";
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push({ path, method, call: methods[method] });
    }
  }
  return [...groups].filter(([, routes]) => routes.length);
}

function table(title, rows) {
  if (!rows.length) return null;
  const head = h("tr", {}, ["Name", "Type", "Default", "What it is"].map((name) => h("th", { scope: "col", text: name })));
  const row = ({ name, type, fallback, words, required }) =>
    h(
      "tr",
      {},
      h("td", {}, h("code", { text: name }), required ? [" ", h("span", { class: "required", text: "required" })] : null),
      h("td", { text: type }),
      h("td", {}, fallback === undefined || fallback === null ? h("span", { class: "muted", text: "–" }) : h("code", { text: JSON.stringify(fallback) })),
      h("td", { text: words ?? "" }),
    );
  return h("div", {}, h("h4", { text: title }), h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": title }, h("table", {}, h("thead", {}, head), h("tbody", {}, rows.map(row)))));
}

const properties = (schema, whole) =>
  Object.entries(schema.properties ?? {}).map(([name, raw]) => ({
    name,
    type: typeWords(raw, whole),
    fallback: raw.default,
    words: raw.description,
    required: schema.required?.includes(name),
  }));

/** The schema that says most about a body: JSON's before a form's. */
function bodyOf(call, whole) {
  const content = call.requestBody?.content ?? {};
  const best = content["application/json"] ?? content["multipart/form-data"];
  return { types: Object.keys(content), schema: best?.schema ? resolve(best.schema, whole) : null };
}

function curl(path, method, call, whole) {
  const key = whole.security?.length ? ' -H "Authorization: Bearer $GLIA_API_KEY"' : "";
  const where = quote(api.root() + path);
  if (method === "get") return `curl ${where}${key}`;
  const { types, schema } = bodyOf(call, whole);
  const form = call.requestBody?.content?.["multipart/form-data"]?.schema;
  const fields = resolve(form ?? schema ?? {}, whole);
  const [subject, first] = Object.entries(fields.properties ?? {})[0] ?? [];
  const item = first?.type === "array" ? resolve(first.items, whole) : {};
  const many = item.format === "binary" || mediaOf(item);
  if (many) return `curl ${where}${key} -F ${subject}=@one.jpg -F ${subject}=@two.jpg`;
  if (types.some((type) => /^(image|audio|video)\/\*$|octet-stream/.test(type))) {
    const binary = types.find((type) => type.endsWith("/*")) ?? "";
    const file = { "image/*": "photo.jpg", "audio/*": "speech.wav" }[binary] ?? "file";
    return `curl ${where}${key} --data-binary @${file}`;
  }
  return `curl ${where}${key} -H 'Content-Type: application/json' -d ${quote(JSON.stringify(sampleOf(schema ?? {}, whole)))}`;
}

/** A value that has a schema's shape. */
function sampleOf(raw, whole, depth = 0) {
  const schema = resolve(raw, whole);
  if (schema.default !== undefined && schema.default !== null) return schema.default;
  if (schema.examples?.length) return schema.examples[0];
  if (schema.enum) return schema.enum[0];
  if (mediaOf(schema)) return "BASE64";
  if (depth > 4) return null;
  if (schema.type === "object") {
    const wanted = Object.entries(schema.properties ?? {}).filter(([name]) => schema.required?.includes(name) ?? true);
    return Object.fromEntries(wanted.map(([name, inner]) => [name, sampleOf(inner, whole, depth + 1)]));
  }
  if (schema.type === "array") return [sampleOf(schema.items ?? {}, whole, depth + 1)];
  return { integer: schema.minimum ?? 1, number: schema.minimum ?? 0.5, boolean: true, string: "text" }[schema.type] ?? null;
}

function route({ path, method, call }, whole) {
  const { types, schema } = bodyOf(call, whole);
  const query = (call.parameters ?? []).map((parameter) => ({
    name: parameter.name,
    type: typeWords(parameter.schema ?? {}, whole),
    fallback: parameter.schema?.default,
    words: parameter.description || parameter.schema?.description,
    required: parameter.required,
  }));
  const inQuery = new Set(query.map(({ name }) => name));
  const item = schema?.type === "array" ? resolve(schema.items, whole) : schema;
  const fields = item ? properties(item, whole).filter(({ name }) => !inQuery.has(name)) : [];
  const answer = call.responses?.["200"];
  const output = answer?.content?.["application/json"]?.schema;
  const shape = output ? resolve(output, whole) : null;
  const row = shape?.type === "array" ? resolve(shape.items, whole) : shape;
  const line = curl(path, method, call, whole);
  const code = h("code", {});
  write(code, line);
  return h(
    "article",
    { class: "route panel", id: anchor(`${method}-${path}`) },
    h("div", { class: "route-head" }, h("h3", { class: "route-line" }, h("span", { class: `method method-${method}`, text: method.toUpperCase() }), h("code", { text: path })), copyButton(() => line, "Copy curl")),
    h("p", { text: call.summary ?? "" }),
    call.description && call.description !== `${call.summary}.` ? h("p", { class: "muted", text: call.description }) : null,
    h("pre", { class: "snippet", tabindex: 0 }, code),
    types.length ? h("div", {}, h("h4", { text: "Send it as" }), h("div", { class: "content-types" }, types.map((type) => h("span", { class: "badge mono", text: type })))) : null,
    table(schema?.type === "array" ? "Each request" : "Subject and fields of the body", fields),
    table("Parameters, in the query or the body", query),
    shape ? answerOf(shape, row, whole) : null,
  );
}

/** What comes back: its fields where it has any, or its type in a line. */
function answerOf(shape, row, whole) {
  const title = `Answer: ${typeWords(shape, whole)}`;
  if (!row?.properties) return h("h4", { text: title });
  return table(title, properties(row, whole).map((each) => ({ ...each, required: false })));
}

function draw(whole) {
  const groups = groupsOf(whole);
  main.replaceChildren(
    h(
      "div",
      { class: "wrap docs" },
      h("nav", { class: "docs-nav", "aria-label": "Services of the API" }, groups.map(([name]) => h("a", { href: `#${anchor(name)}`, text: name }))),
      h(
        "div",
        { class: "docs-body" },
        h(
          "section",
          { class: "docs-intro" },
          h("h1", { text: "API" }),
          h("p", { class: "lead", text: "Every service answers to one POST: the subject as the body, parameters in the query. Answers are JSON, errors are problem+json with what was expected, what came and what to do." }),
          whole.security?.length ? h("p", { class: "notice", text: "This server wants its API key: send it as Authorization: Bearer KEY." }) : null,
          h("p", {}, h("a", { href: "openapi.json", text: "openapi.json" }), h("span", { class: "muted", text: ` · OpenAPI ${whole.openapi} · ${whole.info?.title ?? ""} ${whole.info?.version ?? ""}` })),
        ),
        groups.map(([name, routes]) => h("section", { class: "docs-group", id: anchor(name) }, h("h2", { text: name }), routes.map((each) => route(each, whole)))),
      ),
    ),
  );
  const wanted = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (wanted) wanted.scrollIntoView();
}

async function open() {
  main.replaceChildren(h("div", { class: "wrap service-page" }, h("div", { class: "skeleton line", "aria-hidden": "true" }), h("div", { class: "skeleton block", "aria-hidden": "true" })));
  try {
    draw(await api.openapi());
  } catch (problem) {
    main.replaceChildren(h("div", { class: "wrap service-page" }, h("h1", { text: "API" }), h("div", { id: "error", class: "error", role: "alert" }, problemWords(problem, open))));
  }
}

frame(main);
open();
