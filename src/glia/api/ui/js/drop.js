// The drop zone of a medium: drop, paste, pick, or a sample; one file or several, with previews.

import { h, icon, bytes, words } from "./dom.js";
import * as api from "./api.js";

const AN = (word) => (/^[aeiou]/.test(word) ? `an ${word}` : `a ${word}`);
const NOUN = { image: ["picture", "pictures"], audio: ["recording", "recordings"] };
const nouns = (kind) => NOUN[kind] ?? ["file", "files"];

/** A drop zone. `change` is called when its files change, `fail` with a problem of what was given. Gives {element, get(), set(files), add(files), focus()}. */
export function dropZone(field, isSubject, change, fail) {
  const [one, several] = nouns(field.media);
  const noun = field.many ? several : AN(one);
  const ids = isSubject ? { zone: "drop", file: "file" } : { zone: `drop-${field.name}`, file: `file-${field.name}` };
  const formats = field.formats.map((format) => String(format).toUpperCase()).join(", ");
  const input = h("input", { type: "file", id: ids.file, accept: accept(field), multiple: field.many, hidden: true });
  const art = h("div", { class: "drop-art", "aria-hidden": "true" }, icon(field.media === "image" ? "image" : "file"));
  const prompt = h(
    "div",
    { class: "drop-words" },
    h("strong", { text: `Drop ${noun} here` }),
    h("span", { class: "drop-how" }, "or paste, or ", h("span", { class: "linkish", text: "choose a file" })),
    formats ? h("span", { class: "hint", text: formats }) : null,
  );
  const preview = h("div", { class: "previews" });
  const zone = h(
    "div",
    { id: ids.zone, class: "drop", role: "button", tabindex: 0, "aria-describedby": `${ids.zone}-hint` },
    art,
    prompt,
    preview,
    input,
  );
  const actions = h("div", { class: "drop-actions" });
  const label = h("span", { class: "label", text: words(field.name) });
  const hint = h("p", { class: "hint", id: `${ids.zone}-hint`, text: field.schema.description ?? "" });
  let files = [];
  let urls = [];

  const paint = () => {
    urls.forEach((url) => URL.revokeObjectURL(url));
    urls = files.map((file) => URL.createObjectURL(file));
    zone.classList.toggle("filled", files.length > 0);
    zone.classList.toggle("several", files.length > 1);
    const chosen = files.map((file) => file.name).join(", ");
    zone.setAttribute("aria-label", files.length ? `${words(field.name)}: ${chosen}. Press Enter to choose ${field.many ? "more" : "another"}.` : `Drop ${noun} here, or press Enter to choose a file`);
    preview.replaceChildren(...files.map((file, i) => thumb(file, urls[i], field.media)));
    const total = files.reduce((sum, file) => sum + file.size, 0);
    const remove = h("button", { type: "button", class: "button quiet small" }, icon("close"), files.length > 1 ? "Remove all" : "Remove");
    remove.addEventListener("click", () => {
      set([]);
      zone.focus();
    });
    const facts = files.length > 1 ? `${files.length} files, ${bytes(total)}` : `${chosen} · ${bytes(total)}`;
    actions.replaceChildren(...(files.length ? [h("span", { class: "file-facts", text: facts, title: chosen }), remove] : []));
  };
  const set = (list) => {
    files = [...list];
    paint();
    change();
  };
  const add = (list) => {
    const wanted = [...list].filter((file) => file.size > 0);
    if (!wanted.length) {
      if (!list.length) return;
      // What was chosen before is not what is meant now.
      if (!field.many) set([]);
      fail(new api.Problem({ title: "There is nothing in it", detail: `${list[0].name} has 0 bytes. Choose a file with ${AN(one)} in it.`, status: 422 }));
      return;
    }
    set(field.many ? [...files, ...wanted].slice(0, field.schema.maxItems ?? 1000) : wanted.slice(0, 1));
  };

  zone.addEventListener("click", () => input.click());
  input.addEventListener("click", (event) => event.stopPropagation());
  zone.addEventListener("keydown", (event) => {
    if (event.target !== zone || (event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    // Opened inside the key's own event, Chromium now and then drops the dialog.
    if (!event.repeat) setTimeout(() => input.click());
  });
  input.addEventListener("change", () => {
    add(input.files);
    input.value = "";
  });
  dragging(zone, add);
  paint();

  const element = h(
    "div",
    { class: "field field-media", "data-field": field.name },
    isSubject && !field.many ? null : label,
    zone,
    actions,
    hint,
  );
  return { element, zone, add, set, get: () => (files.length ? (field.many ? files : files[0]) : undefined), focus: () => zone.focus() };
}

function accept(field) {
  return field.media === "image" || field.media === "audio" || field.media === "video" ? `${field.media}/*` : null;
}

function dragging(zone, add) {
  let depth = 0;
  const light = (on) => zone.classList.toggle("over", on);
  zone.addEventListener("dragenter", (event) => {
    event.preventDefault();
    depth += 1;
    light(true);
  });
  zone.addEventListener("dragover", (event) => event.preventDefault());
  zone.addEventListener("dragleave", () => {
    depth -= 1;
    light(depth > 0);
  });
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    depth = 0;
    light(false);
    add(event.dataTransfer.files);
  });
}

/** A file as a picture, a player or its name. Browsers turn pictures as their EXIF says. */
function thumb(file, url, kind) {
  const plain = () => h("span", { class: "thumb-file" }, icon("file"), h("span", { text: file.name }));
  if (kind === "audio") return h("audio", { src: url, controls: true, class: "thumb-audio" });
  if (kind !== "image") return plain();
  const picture = h("img", { src: url, alt: file.name, class: "thumb" });
  picture.addEventListener("error", () => picture.replaceWith(plain()));
  return picture;
}

/** A row of sample pictures; hidden while there are none. `take(file)` gets the chosen one as a File. */
export function sampleRow(take, fail) {
  const list = h("div", { class: "sample-list" });
  const row = h("div", { class: "samples", hidden: true }, h("span", { class: "samples-title", text: "Or try one of these" }), list);
  api.samples().then((found) => {
    for (const sample of found) {
      const picture = h("img", { src: api.sampleAddress(sample.file), alt: sample.alt ?? "", loading: "lazy", width: 72, height: 72 });
      const button = h("button", { type: "button", class: "sample", title: sample.title, "aria-label": `Try the sample: ${sample.title}` }, picture);
      picture.addEventListener("error", () => button.remove());
      button.addEventListener("click", async () => {
        try {
          const answer = await fetch(api.sampleAddress(sample.file));
          if (!answer.ok) throw new Error(String(answer.status));
          const blob = await answer.blob();
          take(new File([blob], sample.file, { type: blob.type }));
        } catch {
          fail(new api.Problem({ title: "The sample did not load", detail: `${sample.file} could not be read from the server.` }));
        }
      });
      list.append(button);
    }
    row.hidden = found.length === 0;
  });
  return row;
}
