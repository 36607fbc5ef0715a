// Elements, icons, and how numbers and copies look: what every other file draws with.

/** An element. Props: `class`, `on` ({event: listener}), `style` ({property: value}), `text`; the rest are attributes. */
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** The same in SVG's namespace. */
export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "style") for (const [key, v] of Object.entries(value)) element.style.setProperty(key, v);
    else if (name === "text") element.textContent = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const PATHS = {
  copy: "M9 9h10v11H9zM15 9V4H5v11h4",
  check: "M5 13l4.5 4.5L19 7",
  back: "M14 6l-6 6 6 6",
  arrow: "M5 12h14M13 6l6 6-6 6",
  close: "M6 6l12 12M18 6L6 18",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9.5h.01",
  file: "M6 3h8l4 4v14H6zM14 3v4h4",
  play: "M8 5l11 7-11 7z",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  alert: "M12 8v5M12 16.5h.01M12 3l9.5 17h-19z",
};

/** A 24-unit line icon, hidden from screen readers. */
export function icon(name) {
  return svg("svg", { viewBox: "0 0 24 24", class: `icon icon-${name}`, "aria-hidden": "true" }, svg("path", { d: PATHS[name] }));
}

/** A button that copies what `text()` gives and says so. */
export function copyButton(text, label = "Copy") {
  const words = h("span", { text: label });
  const button = h("button", { type: "button", class: "button quiet small copy" }, icon("copy"), words);
  button.addEventListener("click", async (event) => {
    event.preventDefault();
    const done = await copy(text());
    words.textContent = done ? "Copied" : "Press Ctrl+C";
    button.classList.toggle("done", done);
    setTimeout(() => {
      words.textContent = label;
      button.classList.remove("done");
    }, 1600);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Plain http from another machine has no clipboard API: select a hidden field and ask the document.
    const field = h("textarea", { class: "visually-hidden", readonly: true });
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}

/** A command in a dark line with its copy button. */
export function command(text, props = {}) {
  return h("div", { class: "command" }, h("code", { ...props }, text.split(" ").flatMap((word, i) => [i ? " " : null, h("span", { class: "word", text: word })])), copyButton(() => text));
}

/** A number as people read it: at most `digits` significant ones. */
export function number(value, digits = 4) {
  if (!Number.isFinite(value)) return String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return Number(value.toPrecision(digits)).toLocaleString("en", { maximumFractionDigits: 12 });
}

/** A share, 0 to 1, in percent. */
export function percent(share) {
  if (share > 0 && share < 0.0005) return "<0.1%";
  if (share < 1 && share > 0.9995) return ">99.9%";
  return `${(share * 100).toFixed(1)}%`;
}

/** Milliseconds, in seconds when there are many. */
export function duration(ms) {
  if (ms >= 1000) return `${(ms / 1000).toFixed(ms >= 10000 ? 1 : 2)} s`;
  return `${ms >= 100 ? Math.round(ms) : ms.toFixed(ms >= 10 ? 1 : 2)} ms`;
}

/** Bytes in the unit that fits. */
export function bytes(count) {
  if (count < 1e3) return `${count} B`;
  if (count < 1e6) return `${(count / 1e3).toFixed(0)} kB`;
  if (count < 1e9) return `${(count / 1e6).toFixed(count < 1e8 ? 1 : 0)} MB`;
  return `${(count / 1e9).toFixed(count < 1e10 ? 2 : 1)} GB`;
}

/** `top_k` as `Top k`. */
export function words(name) {
  const spaced = String(name).replaceAll("_", " ");
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}

/** Buttons that show one of several panels: [[title, panel], ...]; arrow keys move between them. */
export function tabs(label, pairs, extra = null) {
  const id = `tabs-${Math.random().toString(36).slice(2, 8)}`;
  const buttons = pairs.map(([title], i) =>
    h("button", { type: "button", role: "tab", id: `${id}-${i}`, class: "tab", "aria-controls": `${id}-panel-${i}`, text: title }),
  );
  const panels = pairs.map(([, panel], i) =>
    h("div", { role: "tabpanel", id: `${id}-panel-${i}`, "aria-labelledby": `${id}-${i}` }, panel),
  );
  const choose = (chosen) => {
    buttons.forEach((button, i) => {
      button.setAttribute("aria-selected", String(i === chosen));
      button.tabIndex = i === chosen ? 0 : -1;
      panels[i].hidden = i !== chosen;
    });
  };
  buttons.forEach((button, i) => {
    button.addEventListener("click", () => choose(i));
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = (i + step + buttons.length) % buttons.length;
      choose(next);
      buttons[next].focus();
    });
  });
  choose(0);
  const row = h("div", { class: "tab-row" }, h("div", { role: "tablist", "aria-label": label }, buttons), extra);
  return h("div", { class: "tabs" }, row, panels);
}
