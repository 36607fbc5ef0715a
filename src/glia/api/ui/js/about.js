// About the model: what it may be used for, how good it is, where it comes from, what it knows.

import { h, number, percent, bytes, words } from "./dom.js";

/** A licence as badges; research-only ones are never quiet. */
export function licenceBadges(service) {
  const weights = service.licence?.weights;
  return [
    service.research_only ? h("span", { class: "badge warn", text: "research only" }) : null,
    weights && !(service.research_only && weights === "research-only") ? h("span", { class: "badge", text: weights, title: "Licence of the weights" }) : null,
  ];
}

/** The panel, or null where the service is plain code without a card of its own. */
export function about(service) {
  const card = service.card;
  if (!card || !service.model) return null;
  const size = Object.values(card.graphs ?? {}).reduce((sum, graph) => sum + (graph.bytes ?? 0), 0);
  const rows = [
    ["Model", h("span", { class: "mono", text: `${service.model}@${service.version}` })],
    ["Network", card.title],
    ["Size", size ? bytes(size) : null],
    ["Weights", card.licence?.weights],
    ["Trained on", card.licence?.data],
    ["Source", card.source ? source(card.source) : null],
    ["Checked", parity(card.parity)],
  ].filter(([, value]) => value);
  return h(
    "section",
    { class: "about panel", id: "about", "aria-labelledby": "about-title" },
    h("h2", { id: "about-title", text: "About this model" }),
    service.research_only
      ? h("p", { class: "notice warn", text: "For research only: the licence of the weights or of the data behind them does not allow commercial use." })
      : null,
    h(
      "div",
      { class: "about-parts" },
      h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", {}, h("dt", { text: name }), h("dd", {}, value)))),
      card.scores?.length || card.labels?.length ? h("div", { class: "about-more" }, scores(card.scores ?? []), labels(card.labels ?? [])) : null,
    ),
  );
}

function source(text) {
  if (!/^https?:\/\//.test(text)) return text;
  // Host and path are enough to read; the commit in the middle is in the link.
  const shown = text.replace(/^https?:\/\/(www\.)?/, "").replace(/([0-9a-f]{7})[0-9a-f]{33}/, "$1…");
  const parts = shown.split("/").flatMap((part, i) => (i ? ["/", h("wbr"), part] : [part]));
  return h("a", { href: text, rel: "noreferrer noopener", target: "_blank" }, parts);
}

function parity(found) {
  if (!found || found.oracle === "none" || found.max_abs === null || found.max_abs === undefined) return null;
  return `Same numbers as ${found.oracle} within ${small(found.max_abs)} over ${number(found.probes)} probes`;
}

const small = (value) => (value && value < 1e-3 ? value.toExponential(1) : number(value, 2));

/** Metrics that are shares, and read best in percent. */
const SHARES = /^(top_?\d+|accuracy|precision|recall|f1|map|iou|wer|cer)\b/i;

function scores(list) {
  if (!list.length) return null;
  const row = (score) =>
    h(
      "tr",
      {},
      h("td", { text: words(score.metric) }),
      h("td", { class: "right figure", text: SHARES.test(score.metric) && score.value <= 1 ? percent(score.value) : number(score.value), title: String(score.value) }),
      h("td", {}, score.data, score.n ? h("span", { class: "muted", text: ` (${number(score.n)})` }) : null),
      h("td", { class: "muted wide-only", text: score.source }),
    );
  const head = h("tr", {}, ["Metric", "Value", "On", "Source"].map((name, i) => h("th", { scope: "col", class: ["", "right", "", "wide-only"][i], text: name })));
  return h("div", { class: "scroll scores" }, h("table", {}, h("caption", { text: "Measured" }), h("thead", {}, head), h("tbody", {}, list.map(row))));
}

function labels(list) {
  if (!list.length) return null;
  const shown = h("ul", { class: "chips label-list" });
  const filter = h("input", { type: "search", class: "input", placeholder: "Find a label", "aria-label": "Find a label" });
  const paint = () => {
    const wanted = filter.value.trim().toLowerCase();
    const found = wanted ? list.filter((label) => label.toLowerCase().includes(wanted)) : list;
    shown.replaceChildren(...found.slice(0, 120).map((label) => h("li", { text: label })), ...(found.length > 120 ? [h("li", { class: "muted", text: `and ${number(found.length - 120)} more` })] : []));
    if (!found.length) shown.replaceChildren(h("li", { class: "muted", text: "No label has that in it" }));
  };
  filter.addEventListener("input", paint);
  const details = h("details", { class: "labels" }, h("summary", { text: `Knows ${number(list.length)} ${list.length === 1 ? "label" : "labels"}` }), filter, shown);
  details.addEventListener("toggle", () => details.open && !shown.childElementCount && paint());
  return details;
}
