// Where the milliseconds went: one stacked bar, and each step with its share.

import { h, duration, words } from "./dom.js";

const HUES = 6;

/** `steps`: [[name, ms], ...] in their order; `wall_ms`: the whole round trip as the browser saw it. */
export function timing(steps, wall_ms) {
  const total = steps.reduce((sum, [, ms]) => sum + ms, 0);
  const shown = steps.map(([name, ms], i) => ({ name: words(name), ms, hue: `hue-${i % HUES}` }));
  return h(
    "section",
    { id: "timing", class: "timing", "aria-label": "Time per step" },
    h(
      "p",
      { class: "timing-total" },
      steps.length ? h("strong", { text: duration(total) }) : null,
      steps.length ? ` on the server${wall_ms > total ? ", " : ""}` : "",
      steps.length && wall_ms <= total ? null : h("span", { class: "muted", text: `${duration(wall_ms)} ${steps.length ? "with the way there and back" : "in all"}` }),
    ),
    steps.length && total > 0
      ? [
          h("div", { class: "stack", "aria-hidden": "true" }, shown.map(({ name, ms, hue }) => h("span", { class: `part ${hue}`, title: `${name}: ${duration(ms)}`, style: { "flex-grow": String(ms / total) } }))),
          h("dl", { class: "steps" }, shown.map(({ name, ms, hue }) => h("div", { class: hue }, h("dt", { text: name }), h("dd", { text: duration(ms) })))),
        ]
      : null,
  );
}
