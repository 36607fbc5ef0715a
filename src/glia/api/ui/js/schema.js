// What a JSON Schema asks for and what it promises. The only file that reads schemas; no task is known here.

/** A schema with its reference followed and, where it may be null, its other half. */
export function resolve(schema, whole) {
  let found = schema ?? {};
  for (let depth = 0; depth < 20; depth += 1) {
    const options = found.anyOf ?? found.oneOf;
    const { $ref, anyOf, oneOf, allOf, ...rest } = found;
    if ($ref) {
      const target = $ref.replace(/^#\//, "").split("/").reduce((at, key) => at?.[decodeURIComponent(key)], whole);
      found = { ...target, ...rest };
    } else if (allOf?.length === 1) {
      found = { ...allOf[0], ...rest };
    } else if (options) {
      const real = options.filter((option) => option.type !== "null");
      if (real.length !== 1) return found;
      found = { ...real[0], ...rest, nullable: real.length < options.length };
    } else {
      return found;
    }
  }
  return found;
}

/** The kind of medium that a schema holds ("image", ...), or null. */
export const mediaOf = (schema) => schema?.["x-media"] ?? null;

/** Lower and upper bound of a number; null where there is none. */
export function bounds(schema) {
  const unit = schema.type === "integer" ? 1 : 0;
  const min = schema.minimum ?? (schema.exclusiveMinimum === undefined ? null : schema.exclusiveMinimum + unit);
  const max = schema.maximum ?? (schema.exclusiveMaximum === undefined ? null : schema.exclusiveMaximum - unit);
  return { min, max };
}

/** The control that a field of a request needs. */
export function controlOf(schema, whole) {
  if (mediaOf(schema)) return "media";
  if (schema.enum || schema.const !== undefined) return "select";
  if (schema.type === "boolean") return "switch";
  if (schema.type === "integer" || schema.type === "number") return "number";
  if (schema.type === "string") return "text";
  if (schema.type === "array") {
    const item = resolve(schema.items, whole);
    if (mediaOf(item)) return "media";
    if (item.type === "string") return "strings";
  }
  if (schema.type === "object" && schema.properties && Object.keys(schema.properties).length) {
    const simple = ["select", "switch", "number", "text"];
    const inner = Object.values(schema.properties).map((property) => controlOf(resolve(property, whole), whole));
    if (inner.every((kind) => simple.includes(kind))) return "group";
  }
  return "json";
}

/** The fields of a request, in their order. */
export function fieldsOf(schema, whole = schema) {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).map(([name, raw]) => {
    const own = resolve(raw, whole);
    const many = own.type === "array";
    const medium = many ? resolve(own.items, whole) : own;
    return {
      name,
      schema: own,
      whole,
      control: controlOf(own, whole),
      media: mediaOf(medium),
      formats: medium["x-formats"] ?? [],
      accept: medium.contentMediaType ?? "",
      many,
      required: required.has(name),
    };
  });
}

const has = (schema, ...names) => names.every((name) => schema.properties?.[name]);

/** Whether a schema is a rectangle in pixels. */
export const isBox = (schema) => has(schema, "xmin", "ymin", "xmax", "ymax");

/** How an answer is shown, by its schema and, where that says too little, by the value. */
export function viewOf(schema, whole, value) {
  if (mediaOf(schema)) return "media";
  if (Array.isArray(value)) {
    if (value.length === 0) return "nothing";
    const item = resolve(schema.items, whole);
    if (item.properties?.box && isBox(resolve(item.properties.box, whole))) return "boxes";
    if (has(item, "label", "score")) return "bars";
    if (value.every((entry) => typeof entry === "string" || typeof entry === "number")) return "list";
    if (value.every(isFlat)) return "table";
    return value.some((entry) => Object(entry) === entry) && value.length <= 50 ? "items" : "json";
  }
  if (typeof value === "string") return value.startsWith("data:image/") ? "media" : "text";
  if (typeof value === "number") return "number";
  if (typeof value === "boolean") return "boolean";
  if (value !== null && typeof value === "object") {
    const item = resolve(schema, whole);
    return item.properties?.box && isBox(resolve(item.properties.box, whole)) ? "box" : "object";
  }
  return "json";
}

function isFlat(entry) {
  const values = Object(entry) === entry && !Array.isArray(entry) ? Object.values(entry) : [];
  return values.length > 0 && values.every((value) => Object(value) !== value && String(value).length < 200);
}

/** The schema of an object's property. */
export const propertyOf = (schema, name, whole) =>
  resolve(schema.properties?.[name] ?? (typeof schema.additionalProperties === "object" ? schema.additionalProperties : {}), whole);

/** A schema's type in a few words, for tables: `integer, 1 to 1000`. */
export function typeWords(raw, whole) {
  const schema = resolve(raw, whole);
  if (schema.format === "binary" || mediaOf(schema)) return mediaOf(schema) ? `${mediaOf(schema)} (file or base64)` : "file";
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") {
    const item = resolve(schema.items, whole);
    return `list of ${schema.items ? typeWords(item, whole) : "anything"}`;
  }
  const { min, max } = bounds(schema);
  let range = "";
  if (min !== null && max !== null) range = `, ${min} to ${max}`;
  else if (min !== null) range = `, at least ${min}`;
  else if (max !== null) range = `, at most ${max}`;
  return `${schema.type ?? (schema.anyOf ? "one of several" : "anything")}${range}`;
}
