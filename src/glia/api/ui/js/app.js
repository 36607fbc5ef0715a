// The page: which view the address asks for, and what every view shares.

import { frame } from "./frame.js";
import { home } from "./home.js";
import { servicePage } from "./service.js";

const main = document.getElementById("main");
let current = null;

/** `#/objects` is a service, everything else is home. */
function route() {
  const name = location.hash.match(/^#\/(.+)$/)?.[1];
  try {
    return name ? decodeURIComponent(name) : null;
  } catch {
    return name; // a stray % is no encoding
  }
}

async function open(isFirst) {
  current?.abort();
  const mine = new AbortController();
  current = mine;
  const name = route();
  document.title = name ? `${name} · Glia` : "Glia: deep-learning microservices you own";
  scrollTo(0, 0);
  await (name ? servicePage(main, name, mine.signal) : home(main, mine.signal));
  // Readers of the screen hear where they are; the first page keeps the focus at its top.
  if (!isFirst && !mine.signal.aborted) main.querySelector("h1")?.focus({ preventScroll: true });
}

addEventListener("hashchange", () => open(false));
frame(main);
open(true);
