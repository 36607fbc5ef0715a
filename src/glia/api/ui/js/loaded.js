// What is loaded: memory against the budget, and a row for each service with its numbers and its button.

import { h, bytes, duration, number } from "./dom.js";
import * as api from "./api.js";
import { licenceBadges } from "./about.js";
import { hrefOf, stateMark } from "./home.js";

const HUES = ["hue-3", "hue-1", "hue-4", "hue-5", "hue-2"];
const COLUMNS = ["Service", "State", "Runs on", "Memory", "Waiting", "Requests/s", "p50", "p99", "Load or unload"];

/** A replica in a person's words: the models it holds, or its task where it needs none. */
const heldBy = ({ models, task }) => [...new Set(Object.values(models))].join(" + ") || task;

/** Memory of the replicas as one bar, as wide as the budget. Gives {element, update(status)}. */
export function memoryBar() {
  const total = h("p", { class: "memory-total" });
  const bar = h("div", { class: "stack memory-bar", "aria-hidden": "true" });
  const legend = h("dl", { class: "steps" });
  const element = h("section", { class: "panel memory", "aria-labelledby": "memory-title" }, h("div", { class: "curve-head" }, h("h2", { id: "memory-title", text: "Memory" }), total), bar, legend);
  const update = ({ memory, replicas }) => {
    const parts = replicas.map((replica, i) => ({ name: heldBy(replica), size: replica.memory_bytes, hue: HUES[i % HUES.length] }));
    const free = Math.max(0, memory.budget_bytes - memory.used_bytes);
    // The budget is held against the most that each model ever used, so that what was needed once fits again.
    const peak = memory.counted_bytes > memory.used_bytes * 1.02 ? `, ${bytes(memory.counted_bytes)} at their highest,` : "";
    total.replaceChildren(h("strong", { text: bytes(memory.used_bytes) }), `${peak} of ${bytes(memory.budget_bytes)}`);
    total.classList.toggle("over", memory.counted_bytes > memory.budget_bytes);
    const part = ({ name, size, hue }) => h("span", { class: `part ${hue}`, title: `${name}: ${bytes(size)}`, style: { "flex-grow": String(size) } });
    bar.replaceChildren(...parts.map(part), h("span", { class: "part free", style: { "flex-grow": String(free) } }));
    const rows = [...parts, { name: "Front, outside the budget", size: memory.front_bytes, hue: "hue-0" }];
    legend.replaceChildren(...rows.map(({ name, size, hue }) => h("div", { class: hue }, h("dt", { text: name }), h("dd", { text: bytes(size) }))));
  };
  return { element, update };
}

/** The table. `say(words)` tells what a button did. Gives {element, update(status)}. */
export function serviceTable(say, again) {
  // Roles by name: on a narrow screen the rows are no table to CSS, and must stay one to readers of the screen.
  const head = h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, COLUMNS.map((name, i) => h("th", { scope: "col", role: "columnheader", class: i > 2 && i < 8 ? "right" : null }, i === 8 ? h("span", { class: "visually-hidden", text: name }) : name))));
  const body = h("tbody", { role: "rowgroup" });
  const element = h("table", { class: "loaded", role: "table" }, h("caption", { class: "visually-hidden", text: "Services, what they run on, and their last ten seconds" }), head, body);
  const rows = new Map();
  const update = ({ services, replicas }) => {
    const byKey = new Map(replicas.map((replica) => [replica.replica, replica]));
    const names = new Set(services.map(({ name }) => name));
    for (const [name, row] of rows) {
      if (names.has(name)) continue;
      row.element.remove();
      rows.delete(name);
    }
    // Rows are changed, never redrawn: a redrawn button would lose the focus once a second.
    const ofPlainCode = ({ model }) => Number(model === null);
    for (const service of services.toSorted((a, b) => ofPlainCode(a) - ofPlainCode(b))) {
      if (!rows.has(service.name)) {
        rows.set(service.name, serviceRow(service.name, say, again));
        body.append(rows.get(service.name).element);
      }
      rows.get(service.name).update(service, byKey.get(service.replica));
    }
  };
  return { element, update };
}

/** One cell whose content changes only when it differs. */
function cell(label, className) {
  const element = h("td", { class: className, role: "cell", "data-label": label });
  let seen = "";
  const update = (key, ...children) => {
    if (key === seen) return;
    seen = key;
    element.replaceChildren(...children);
  };
  return { element, update, text: (words) => update(words, words) };
}

function serviceRow(name, say, again) {
  const about = h("div", { class: "loaded-name" });
  const [state, runs, ...numbers] = COLUMNS.slice(1, 8).map((label, i) => cell(label, i > 1 ? "right" : null));
  const button = loadButton(name, say, again);
  const element = h("tr", { "data-service": name, role: "row" }, h("th", { scope: "row", role: "rowheader" }, about), state.element, runs.element, numbers.map((one) => one.element), h("td", { class: "right", role: "cell" }, button.element));
  let seen = "";
  const update = (service, replica) => {
    const now = JSON.stringify([service.model, service.version, service.licence, service.errors, service.message, failsNow(service)]);
    if (now !== seen) about.replaceChildren(...aboutService(service));
    seen = now;
    state.update(service.state, stateMark(service));
    runs.text(replica ? runsOn(replica) : "–");
    const lately = service.last_10_s;
    const ms = (value) => (value === null ? "–" : duration(value));
    const values = [replica ? bytes(replica.memory_bytes) : "–", number(service.waiting), number(lately.per_second, 3), ms(lately.p50_ms), ms(lately.p99_ms)];
    numbers.forEach((one, i) => one.text(values[i]));
    button.update(service);
  };
  return { element, update };
}

/** Whether requests failed in the last ten seconds: errors of long ago are no alarm. */
const failsNow = ({ last_10_s: lately }) => lately.failed_per_second > 0;

function aboutService(service) {
  const errors = Object.entries(service.errors).map(([code, n]) => `${number(n)} ${code}`);
  return [
    h("div", { class: "loaded-title" }, h("a", { href: `./${hrefOf(service.name)}`, text: service.name }), h("span", { class: "badges" }, licenceBadges(service))),
    h("span", { class: "mono model-name", text: service.model ? `${service.model}@${service.version}` : "no network" }),
    errors.length ? h("span", { class: failsNow(service) ? "loaded-errors" : "loaded-errors past", text: `Not answered since the start: ${errors.join(", ")}` }) : null,
    service.message ? h("span", { class: "loaded-errors", text: service.message }) : null,
  ].filter(Boolean);
}

/** Runtime, provider and precision of its sessions, each once, and its lanes. */
function runsOn(replica) {
  const sessions = Object.values(replica.sessions ?? {});
  const facts = sessions.flatMap((session) => [session.runtime, session.provider, session.precision]).filter(Boolean);
  const lanes = `${number(replica.lanes)}\u00a0${replica.lanes === 1 ? "lane" : "lanes"}`;
  return [...new Set(facts), lanes].join(" · ");
}

/** The button that loads what is not loaded, and the other way round. */
function loadButton(name, say, again) {
  const element = h("button", { type: "button", class: "button quiet small" });
  let isLoaded = false;
  let isBusy = false;
  const paint = (state) => {
    const verb = isLoaded ? "Unload" : "Load";
    // Not `disabled`, which would take the focus away from who pressed it.
    const isUnderWay = isBusy || state === "loading" || state === "unloading";
    element.setAttribute("aria-disabled", String(isUnderWay));
    element.setAttribute("aria-label", `${verb} ${name}`);
    element.textContent = isUnderWay ? `${verb}ing` : verb;
  };
  element.addEventListener("click", async () => {
    if (element.getAttribute("aria-disabled") === "true") return;
    const verb = isLoaded ? "unload" : "load";
    isBusy = true;
    paint();
    try {
      await api.repository(name, verb);
      say(`${name} is ${verb}ed.`);
    } catch (problem) {
      say(`${name} was not ${verb}ed. ${problem.message}`, problem);
    }
    isBusy = false;
    paint();
    again();
  });
  const update = ({ state }) => {
    if (isBusy) return;
    isLoaded = state === "ready" || state === "unloading";
    paint(state);
  };
  return { element, update };
}
