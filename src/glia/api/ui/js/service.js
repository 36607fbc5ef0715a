// A service's page: form on the left, answer on the right, then how to ask from elsewhere and what answers.

import { h, icon, command } from "./dom.js";
import * as api from "./api.js";
import { bodyOf, buildForm } from "./form.js";
import { view, raw } from "./views.js";
import { timing } from "./timing.js";
import { snippets } from "./snippets.js";
import { about, licenceBadges } from "./about.js";
import { commandIn, problemWords, stateMark } from "./home.js";

const AGAIN_MS = 3000;

/** Draws the service `name` into `main`; everything it started ends with `signal`. */
export async function servicePage(main, name, signal) {
  main.replaceChildren(h("div", { class: "wrap service-page" }, crumbs(), h("div", { class: "skeleton line", "aria-hidden": "true" }), h("div", { class: "skeleton block", "aria-hidden": "true" })));
  let service;
  try {
    // A service without a model has no contract to ask for: the list says so without an error.
    const row = (await api.services(signal)).find((each) => each.name === name);
    if (row?.state === "no-model") {
      await unserved(main, name, new api.Problem({ detail: row.message, code: "no-model" }), signal);
      return;
    }
    service = await api.service(name, signal);
  } catch (problem) {
    if (!signal.aborted) await unserved(main, name, problem, signal);
    return;
  }
  document.title = `${service.name} · Glia`;
  const state = h("div", { class: "service-state" }, stateMark(service));
  const answer = answerPanel(service);
  const form = buildForm(service, () => ask(), (problem) => {
    running?.abort();
    running = null;
    form.element.classList.remove("busy");
    answer.fail(problem, null);
  });
  const shell = snippets(service, form);
  shell.update(form.values());
  form.element.addEventListener("fieldchange", () => shell.update(form.values()));

  let running = null;
  const ask = async () => {
    running?.abort();
    const mine = new AbortController();
    running = mine;
    const values = form.values();
    shell.update(values);
    answer.wait(() => mine.abort());
    reveal(answer.element);
    form.element.classList.add("busy");
    try {
      const result = await api.predict(service.name, await bodyOf(form.fields, values), mine.signal);
      if (mine === running) answer.show(result, pictureOf(form, values));
    } catch (problem) {
      if (mine === running) (problem.name === "AbortError" ? answer.rest : () => answer.fail(problem, ask))();
    }
    if (mine === running) {
      form.element.classList.remove("busy");
      form.run.textContent = "Run again";
    }
  };

  main.replaceChildren(
    h(
      "div",
      { class: "wrap service-page" },
      crumbs(),
      h(
        "header",
        { class: "service-head" },
        h("div", {}, h("h1", { tabindex: -1, text: service.title }), description(service)),
        h("div", { class: "service-facts" }, h("span", { class: "mono", text: service.name }), state, h("span", { class: "badges" }, licenceBadges(service))),
      ),
      service.message ? h("div", { class: "notice bad" }, h("p", { text: service.message }), commandIn(service.message) ? command(commandIn(service.message)) : null) : null,
      h(
        "div",
        { class: "bench" },
        h("section", { class: "panel ask", "aria-label": "Request" }, form.element),
        h("div", { class: "right-half" }, answer.element, elsewhere(service, shell)),
      ),
      about(service),
    ),
  );
  listen(form, signal);
  watch(service, state, signal);
  signal.addEventListener("abort", () => running?.abort());
}

function crumbs() {
  return h("a", { class: "crumbs", href: "#/" }, icon("back"), "All services");
}

function description(service) {
  const words = service.description ?? "";
  return words && words !== service.title && words !== `${service.title}.` ? h("p", { class: "lead", text: words }) : null;
}

/** On a phone the answer lies below the form: bring it up. */
function reveal(element) {
  if (element.getBoundingClientRect().top < innerHeight * 0.7) return;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
}

function elsewhere(service, shell) {
  const docs = h("a", { href: `docs#${encodeURIComponent(service.name)}`, text: "the API" });
  return h(
    "section",
    { class: "panel elsewhere", "aria-labelledby": "elsewhere-title" },
    h("h2", { id: "elsewhere-title", text: "The same from your code" }),
    shell.element,
    h("p", { class: "hint" }, "Every route and parameter: ", docs, "."),
  );
}

/** The photo that boxes are drawn over: the first picture of the request. */
function pictureOf(form, values) {
  const field = form.fields.find((each) => each.media === "image" && values[each.name] !== undefined);
  const file = field && [values[field.name]].flat()[0];
  return file ? URL.createObjectURL(file) : null;
}

/** The right half: at rest, waiting, answered or failed. */
function answerPanel(service) {
  const result = h("div", { id: "result", "aria-live": "polite" });
  const error = h("div", { id: "error", class: "error", role: "alert", hidden: true });
  const foot = h("div", { class: "answer-foot" });
  const element = h("section", { class: "panel answer", "aria-label": "Answer" }, error, result, foot);
  let clock = 0;
  let picture = null;
  const clear = () => {
    clearInterval(clock);
    error.hidden = true;
    error.replaceChildren();
    foot.replaceChildren();
    result.classList.remove("waiting");
    result.removeAttribute("aria-busy");
  };
  const rest = () => {
    clear();
    result.replaceChildren(h("div", { class: "at-rest" }, h("div", { class: "empty-art", "aria-hidden": "true" }), h("p", { text: "The answer appears here." })));
  };
  const wait = (cancel) => {
    const stale = result.querySelector(".answer-body");
    clear();
    const start = performance.now();
    const words = h("span", { text: "Working" });
    const stop = h("button", { type: "button", class: "button quiet small", hidden: true }, "Cancel");
    stop.addEventListener("click", cancel);
    clock = setInterval(() => {
      const s = (performance.now() - start) / 1000;
      stop.hidden = s < 1;
      if (s >= 1) words.textContent = `${service.state === "ready" || s < 2 ? "Working" : "Working, the model may be loading"} · ${s.toFixed(0)} s`;
    }, 200);
    result.classList.add("waiting");
    result.setAttribute("aria-busy", "true");
    result.replaceChildren(h("div", { class: "working" }, h("span", { class: "pulse", "aria-hidden": "true" }), words, stop), ...(stale ? [stale] : [h("div", { class: "ghost-bars", "aria-hidden": "true" }, [1, 2, 3, 4, 5].map((i) => h("span", { class: `ghost ghost-${i}` })))]));
  };
  const show = (answer, photo) => {
    clear();
    if (picture) URL.revokeObjectURL(picture);
    picture = photo;
    const value = answer.blob ?? answer.value;
    const body = h("div", { class: "answer-body" }, view(value, service.output_schema, { whole: service.output_schema, picture: photo }));
    result.replaceChildren(body);
    const json = answer.blob ? null : h("details", { class: "raw" }, h("summary", { text: "Raw JSON" }), raw(answer.value));
    const model = answer.model ? h("p", { class: "answered-by" }, "Answered by ", h("span", { class: "mono", id: "model", text: answer.model })) : null;
    foot.replaceChildren(...[timing(answer.steps, answer.wall_ms), model, json].filter(Boolean));
  };
  const fail = (problem, again) => {
    clear();
    result.replaceChildren();
    error.hidden = false;
    error.replaceChildren(...problemWords(problem, again));
  };
  rest();
  return { element, rest, wait, show, fail };
}

/** Files dropped beside the zone or pasted anywhere go to the form, and never replace the page. */
function listen(form, signal) {
  const carriesFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault(), { signal });
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    form.take(event.dataTransfer.files);
  }, { signal });
  addEventListener("paste", (event) => {
    const files = event.clipboardData?.files ?? [];
    if (files.length && form.take(files)) event.preventDefault();
  }, { signal });
}

/** Keeps the state mark true while the service is not ready. */
function watch(service, state, signal) {
  if (service.ready) return;
  const timer = setInterval(async () => {
    if (document.hidden) return;
    const row = await api.services(signal).then((rows) => rows.find((each) => each.name === service.name), () => null);
    if (!row) return;
    state.replaceChildren(stateMark(row));
    service.state = row.state;
    if (row.ready) clearInterval(timer);
  }, AGAIN_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
}

/** A service without a model, or none of that name: what to do, and a look every few seconds whether it was done. */
async function unserved(main, name, problem, signal) {
  const row = await api.services(signal).then((rows) => rows.find((each) => each.name === name), () => null);
  if (signal.aborted) return;
  const again = () => servicePage(main, name, signal);
  if (!row || problem.status === 401) {
    const error = h("div", { id: "error", class: "error", role: "alert" }, problemWords(problem, again));
    main.replaceChildren(h("div", { class: "wrap service-page" }, crumbs(), h("h1", { tabindex: -1, text: name }), error));
    return;
  }
  document.title = `${name} · Glia`;
  const message = row.message ?? problem.message;
  const line = commandIn(message);
  main.replaceChildren(
    h(
      "div",
      { class: "wrap service-page" },
      crumbs(),
      h("header", { class: "service-head" }, h("div", {}, h("h1", { tabindex: -1, text: row.title || name }), description(row)), h("div", { class: "service-facts" }, h("span", { class: "mono", text: name }), stateMark(row))),
      h("section", { class: "panel setup" }, h("div", { class: "empty-art", "aria-hidden": "true" }), h("h2", { text: row.state === "no-model" ? "This service needs a model" : "This service cannot answer" }), h("p", { text: line ? "Run this where the server runs. The page notices by itself." : message }), line ? command(line) : null, line && message !== line ? h("p", { class: "hint", text: message }) : null),
    ),
  );
  const timer = setInterval(async () => {
    const now = document.hidden ? null : await api.services(signal).then((rows) => rows.find((each) => each.name === name), () => null);
    if (!now || now.state === "no-model") return;
    clearInterval(timer);
    again();
  }, AGAIN_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
}
