// Runs before the first paint (a classic script in <head>), so that no wrong theme flashes.
(() => {
  const key = "glia-theme";
  const read = () => {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  };
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const saved = read();
  if (saved === "dark" || saved === "light") document.documentElement.dataset.theme = saved;

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme-switch");
    const show = () => button.setAttribute("aria-checked", String(isDark()));
    show();
    system.addEventListener("change", show);
    button.addEventListener("click", () => {
      document.documentElement.dataset.theme = isDark() ? "light" : "dark";
      show();
      try {
        localStorage.setItem(key, document.documentElement.dataset.theme);
      } catch {
        // Private windows may forbid storage; the choice then lasts until the page is left.
      }
    });
  });
})();
