// The live view: what the server does now. Asks once a second, and only while somebody looks.

import { h, icon, duration, number } from "./dom.js";
import * as api from "./api.js";
import { frame } from "./frame.js";
import { SECONDS, curves } from "./curve.js";
import { memoryBar, serviceTable } from "./loaded.js";

const POLL_MS = 1000;
const SAID_MS = 6000;

/** What is known of the last two minutes, by second of the server's life. */
function memoryOfSeconds() {
  let rows = new Map();
  let last = -1;
  return {
    since: () => last,
    /** Takes what is new. A server that began anew has its own count of seconds. */
    take(status) {
      if (status.uptime_s < last) {
        rows = new Map();
        last = -1;
        return false;
      }
      for (const row of status.history) rows.set(row[0], row);
      last = Math.max(last, ...status.history.map(([second]) => second));
      for (const second of rows.keys()) if (second <= last - SECONDS) rows.delete(second);
      return true;
    },
    /** Values of one column, oldest first; null where nothing is known. */
    column: (index) => Array.from({ length: SECONDS }, (_, i) => rows.get(last - SECONDS + 1 + i)?.[index] ?? null),
  };
}

/** How long, in the two largest units: `3 h 12 min`. */
function span(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]].map(([unit, name], i, all) => [Math.floor((i ? seconds % all[i - 1][0] : seconds) / unit), name]);
  const first = parts.findIndex(([count]) => count > 0);
  return first < 0 ? "0 s" : parts.slice(first, first + 2).filter(([count]) => count).map(([count, name]) => `${count} ${name}`).join(" ");
}

function eventWords({ starts, start_failures, deaths, evictions, unloads }) {
  const words = [`${number(starts)} started`, `${number(unloads)} unloaded`, `${number(evictions)} evicted to make room`, `${number(deaths)} ended by themselves`, `${number(start_failures)} did not start`];
  return `Replicas since then: ${words.filter((text, i) => i === 0 || !text.startsWith("0 ")).join(", ")}.`;
}

function head() {
  const state = h("span", { class: "state state-loading", id: "live-state" }, h("span", { class: "dot", "aria-hidden": "true" }), h("span", { text: "Asking" }));
  const facts = h("p", { class: "muted", id: "live-facts" });
  const pause = h("button", { type: "button", id: "pause", class: "button quiet", "aria-pressed": "false", text: "Pause" });
  const element = h("header", { class: "live-head" }, h("div", {}, h("h1", { tabindex: -1, text: "Live" }), facts), h("div", { class: "live-tools" }, state, pause));
  /** `kind`: a class of states; `words`: what it says. */
  const show = (kind, words) => {
    state.className = `state state-${kind}`;
    state.lastChild.textContent = words;
  };
  return { element, facts, pause, show };
}

/** Draws into `main`, and keeps it true. */
function live(main) {
  const top = head();
  const gone = h("div", { id: "gone", class: "error", role: "alert", hidden: true });
  const said = h("div", { id: "said", class: "notice", role: "status", hidden: true });
  const rate = curves("Requests per second", [{ name: "All", className: "curve-main", filled: true }, { name: "Not answered", className: "curve-bad" }], { format: (value) => number(value, 3), tick: number, least: 1 });
  const latency = curves("Latency", [{ name: "Half within (p50)", className: "curve-main" }, { name: "99 % within (p99)", className: "curve-second" }], { format: duration, tick: (ms) => (ms >= 1000 ? `${number(ms / 1000)} s` : `${number(ms)} ms`), least: 10 });
  const memory = memoryBar();
  const seconds = memoryOfSeconds();
  let timer = 0;
  let asking = false;
  let paused = false;

  let hush = 0;
  const say = (words, problem = null) => {
    clearTimeout(hush);
    if (!problem) hush = setTimeout(() => (said.hidden = true), SAID_MS);
    said.textContent = words;
    said.hidden = false;
    said.classList.toggle("bad", problem !== null);
  };
  const table = serviceTable(say, () => poll());
  const body = h("div", { class: "live-body", hidden: true }, h("div", { class: "live-curves" }, rate.element, latency.element), memory.element, h("section", { class: "panel", "aria-labelledby": "loaded-title" }, h("div", { class: "curve-head" }, h("h2", { id: "loaded-title", text: "Services" }), h("span", { class: "curve-when", text: "last 10 s" })), said, table.element));
  main.replaceChildren(h("div", { class: "wrap live-page" }, top.element, gone, body));

  const draw = (status) => {
    const lately = status.requests.last_10_s;
    rate.draw([seconds.column(1), seconds.column(2)], [lately.per_second, lately.failed_per_second]);
    latency.draw([seconds.column(3), seconds.column(4)], [lately.p50_ms, lately.p99_ms]);
    memory.update(status);
    table.update(status);
    top.facts.textContent = `Up for ${span(status.uptime_s)}, ${number(status.requests.total)} requests. ${eventWords(status.replica_events)}`;
    top.show("ready", "Live");
    gone.hidden = true;
    body.hidden = false;
    body.classList.remove("stale");
  };
  const fail = (problem) => {
    top.show("failed", problem.status ? "Refused" : "Gone");
    body.classList.add("stale");
    const title = problem.status ? problem.title : "The server is gone";
    if (!gone.hidden && gone.dataset.title === title) return; // said once: no alert each second
    gone.hidden = false;
    gone.dataset.title = title;
    const words = problem.status ? problem.message : "Nothing answers at this address any more. This page asks again every second and goes on when it is back.";
    gone.replaceChildren(icon("alert"), h("div", { class: "error-words" }, h("strong", { text: title }), h("p", { text: words })));
  };
  const poll = async () => {
    if (asking || document.hidden) return;
    asking = true;
    clearTimeout(timer);
    try {
      let status = await api.status(seconds.since());
      if (!seconds.take(status)) {
        status = await api.status(seconds.since());
        seconds.take(status);
      }
      draw(status);
    } catch (problem) {
      fail(problem);
    }
    asking = false;
    if (paused) top.show("idle", "Paused");
    else timer = setTimeout(poll, POLL_MS);
  };

  top.pause.addEventListener("click", () => {
    paused = !paused;
    top.pause.textContent = paused ? "Go on" : "Pause";
    top.pause.setAttribute("aria-pressed", String(paused));
    clearTimeout(timer);
    if (paused) top.show("idle", "Paused");
    else poll();
  });
  document.addEventListener("visibilitychange", () => paused || poll());
  poll();
}

const main = document.getElementById("main");
frame(main);
live(main);
