// What every page has around its content: the link past the header, the version in the footer.

import * as api from "./api.js";

/** Makes the frame work. `main`: the page's content. */
export function frame(main) {
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address may be the route
    main.focus();
    main.scrollIntoView();
  });
  api.info().then((found) => {
    if (found?.version) document.getElementById("version").textContent = `Glia ${found.version}`;
  });
}
