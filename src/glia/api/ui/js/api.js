// The server, asked with addresses relative to the page, so that a proxy's path in front does not matter.

/** What went wrong, in the server's words (RFC 9457) or in ours where there are none. */
export class Problem extends Error {
  constructor({ title, detail, code, status }) {
    super(detail || title || "Something went wrong.");
    this.title = title || "Something went wrong";
    this.code = code || "";
    this.status = status || 0;
  }
}

/** A path of this server as a whole address. */
export const address = (path) => new URL(path, document.baseURI).href.replace(/#.*$/, "");

/** The address that clients are given: the page's own, without a trailing slash. */
export const root = () => address(".").replace(/\/$/, "");

const servicePath = (name) => `v1/services/${encodeURIComponent(name)}`;

/** Address of one service. */
export const serviceAddress = (name) => address(servicePath(name));

async function send(path, options = {}) {
  let answer;
  try {
    answer = await fetch(address(path), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({
      title: "The server does not answer",
      detail: "Nothing came back. Check that glia serve is still running on this address, then try again.",
      code: "unreachable",
    });
  }
  if (!answer.ok) throw await problemOf(answer);
  return answer;
}

async function problemOf(answer) {
  if (answer.status === 401) {
    return new Problem({
      title: "This server wants its API key",
      detail: "Reload the page. In the dialog, leave the user as you like and give the API key as the password.",
      code: "not-allowed",
      status: 401,
    });
  }
  try {
    return new Problem({ status: answer.status, ...(await answer.json()) });
  } catch {
    return new Problem({
      title: `The server answered ${answer.status}`,
      detail: `Expected an answer of Glia, received HTTP ${answer.status} ${answer.statusText}. A proxy in front may be at fault.`,
      status: answer.status,
    });
  }
}

async function json(path, options) {
  const answer = await send(path, options);
  try {
    return await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ title: "Not an answer of Glia", detail: `Expected JSON from ${address(path)}, received something else.` });
  }
}

/** Every service, a row each. */
export const services = async (signal) => (await json("v1/services", { signal })).services;

/** One service whole. */
export const service = (name, signal) => json(servicePath(name), { signal });

/** The OpenAPI document; asked once. */
let described;
export function openapi() {
  described ??= json("openapi.json").catch((error) => {
    described = undefined;
    throw error;
  });
  return described;
}

/** Whether clients must send a key. */
export const keyed = () => openapi().then((document) => Boolean(document.security?.length)).catch(() => false);

/** Name and version of the server, or nothing. */
export const info = () => json("info").catch(() => null);

/** What the server does now, with the seconds of its history after `since`. */
export const status = (since) => json(`v1/status?since=${since}`);

/** Load or unload the replica behind a service; `verb`: load or unload. */
export const repository = (name, verb) =>
  send(`v2/repository/models/${encodeURIComponent(name)}/${verb}`, { method: "POST", body: "{}", headers: { "content-type": "application/json" } });

/** Sample pictures, or none. */
let drawn;
export function samples() {
  drawn ??= json("ui/samples/samples.json")
    .then((list) => (Array.isArray(list) ? list : []))
    .catch(() => []);
  return drawn;
}

/** Where a sample lies. */
export const sampleAddress = (file) => address(`ui/samples/${encodeURIComponent(file)}`);

/**
 * Ask a service. `body`: FormData, or an object that is sent as JSON.
 * Gives {value | blob, type, steps: [[name, ms]], model, wall_ms}.
 */
export async function predict(name, body, signal) {
  const start = performance.now();
  const isForm = body instanceof FormData;
  const answer = await send(servicePath(name), {
    method: "POST",
    signal,
    body: isForm ? body : JSON.stringify(body),
    headers: isForm ? {} : { "content-type": "application/json" },
  });
  const type = (answer.headers.get("content-type") || "").split(";")[0];
  const read = type.endsWith("json") ? { value: await answer.json() } : { blob: await answer.blob() };
  return {
    ...read,
    type,
    steps: stepsOf(answer.headers.get("server-timing")),
    model: answer.headers.get("x-glia-model") || "",
    wall_ms: performance.now() - start,
  };
}

/** `queue;dur=0.1, run;dur=11.2` as [["queue", 0.1], ["run", 11.2]]. */
export function stepsOf(header) {
  return (header || "")
    .split(",")
    .map((part) => part.trim().match(/^([^;\s]+).*?;\s*dur=([\d.]+)/))
    .filter(Boolean)
    .map(([, name, ms]) => [name, Number(ms)]);
}
