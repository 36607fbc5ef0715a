// The first page: every service as a card.

import { h, icon, command } from "./dom.js";
import * as api from "./api.js";
import { licenceBadges } from "./about.js";

const STATES = { ready: "Ready", loading: "Loading", unloading: "Unloading", idle: "Not loaded", "no-model": "No model yet", failed: "Failed" };
const SOON_MS = 4000;
const LATER_MS = 30000;

/** The command inside a message such as `... run: glia fetch NAME`, or null. */
export const commandIn = (message) => message?.match(/\bglia [a-z][^\n]*?(?=[.;,]?\s*$|[.;]\s)/)?.[0] ?? null;

/** A state as a dot and a word. */
export function stateMark(service) {
  return h("span", { class: `state state-${service.state}` }, h("span", { class: "dot", "aria-hidden": "true" }), STATES[service.state] ?? service.state);
}

/** Where a service's page is. */
export const hrefOf = (name) => `#/${encodeURIComponent(name)}`;

function card(service) {
  const line = commandIn(service.message);
  const words = line ? service.message.slice(0, service.message.indexOf(line)).replace(/[\s:;,]*(run|with)?[\s:;,]*$/i, "") : service.message;
  return h(
    "li",
    { class: `service-card is-${service.state}`, "data-service": service.name },
    h("div", { class: "card-head" }, h("span", { class: "card-name", text: service.name }), stateMark(service)),
    h("h3", {}, h("a", { class: "card-link", href: hrefOf(service.name), text: service.title || service.name })),
    service.description && service.description !== service.title && service.description !== `${service.title}.`
      ? h("p", { class: "card-words", text: service.description })
      : null,
    service.message ? h("div", { class: "card-message" }, words ? h("p", { text: `${words.replace(/\.$/, "")}.` }) : null, line ? command(line) : null) : null,
    service.model
      ? h("div", { class: "card-foot" }, h("span", { class: "mono model-name", text: `${service.model}@${service.version}` }), h("span", { class: "badges" }, licenceBadges(service)))
      : null,
  );
}

/** Draws into `main`; stops asking the server when `signal` ends. */
export async function home(main, signal) {
  const list = h("div", { id: "services", "aria-busy": "true" }, h("ul", { class: "cards" }, [1, 2, 3].map(() => h("li", { class: "service-card skeleton", "aria-hidden": "true" }))));
  const count = h("p", { class: "muted", "aria-live": "polite" });
  const error = h("div", { id: "error", class: "error", role: "alert", hidden: true });
  main.replaceChildren(
    hero(),
    h("section", { class: "shelf wrap", "aria-labelledby": "services-title" }, h("div", { class: "shelf-head" }, h("h2", { id: "services-title", tabindex: -1, text: "Services" }), count), error, list),
  );
  let seen = "";
  let settled = false;
  const refresh = async () => {
    try {
      const rows = await api.services(signal);
      error.hidden = true;
      list.hidden = false;
      const now = JSON.stringify(rows);
      // Redrawing would take the focus away from whoever is reading.
      if (now !== seen) draw(list, count, rows);
      seen = now;
      settled = rows.length > 0 && rows.every((row) => row.ready);
    } catch (problem) {
      if (signal.aborted) return;
      seen = "";
      settled = false;
      list.hidden = true;
      count.textContent = "";
      error.hidden = false;
      error.replaceChildren(...problemWords(problem, refresh));
    }
    list.removeAttribute("aria-busy");
  };
  let timer = 0;
  // Seldom while all is well; soon while a model may arrive.
  const again = async () => {
    if (!document.hidden) await refresh();
    if (!signal.aborted) timer = setTimeout(again, settled ? LATER_MS : SOON_MS);
  };
  signal.addEventListener("abort", () => clearTimeout(timer));
  await refresh();
  timer = setTimeout(again, settled ? LATER_MS : SOON_MS);
}

function draw(list, count, rows) {
  const ready = rows.filter((row) => row.state !== "no-model");
  const rest = rows.filter((row) => row.state === "no-model");
  count.textContent = rows.length ? `${rows.filter((row) => row.ready).length} of ${rows.length} ready` : "";
  if (!rows.length) {
    list.replaceChildren(empty());
    return;
  }
  list.replaceChildren(
    ...(ready.length ? [h("ul", { class: "cards" }, ready.map(card))] : []),
    ...(rest.length
      ? [h("h3", { class: "shelf-sub", text: ready.length ? "One command away" : "Fetch a model, and it is served here" }), h("ul", { class: "cards" }, rest.map(card))]
      : []),
  );
}

function empty() {
  return h(
    "div",
    { class: "empty" },
    h("div", { class: "empty-art", "aria-hidden": "true" }),
    h("h3", { text: "No services yet" }),
    h("p", { text: "A service is a task bound to a model. Fetch one, and it appears here by itself." }),
    command("glia catalog"),
    h("p", { class: "hint" }, "lists what there is; then ", h("code", { text: "glia fetch NAME" })),
  );
}

function hero() {
  return h(
    "section",
    { class: "hero" },
    h("div", { class: "hero-art", "aria-hidden": "true" }),
    h(
      "div",
      { class: "wrap" },
      h("h1", { tabindex: -1, text: "Deep-learning microservices you own." }),
      h("p", { class: "lead", text: "Each service below is a trained network behind a page, an HTTP API, a shell command and a Python call. It runs on this machine; nothing you send leaves it." }),
    ),
  );
}

/** Whether the same request may fare better later: not where the request itself is at fault. */
const isPassing = ({ status }) => !(status >= 400 && status < 500) || status === 408 || status === 429;

/** A problem's title, detail and a way on. */
export function problemWords(problem, again) {
  const line = commandIn(problem.message);
  const retry = h("button", { type: "button", class: "button quiet small" }, "Try again");
  retry.addEventListener("click", again);
  return [
    icon("alert"),
    h("div", { class: "error-words" }, h("strong", { text: problem.title ?? "Something went wrong" }), h("p", { text: problem.message }), line ? command(line) : null, again && isPassing(problem) ? retry : null),
  ];
}
