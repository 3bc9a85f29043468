// Light or dark, before anything is drawn: by the visitor's choice, else by the system's preference.
(() => {
  "use strict";
  const system = matchMedia("(prefers-color-scheme: dark)");

  const chosen = () => {
    try {
      return localStorage.getItem("wer-theme");
    } catch {
      return null; // storage may be forbidden, from file:// for one
    }
  };

  const apply = () => {
    const wish = chosen();
    const theme = wish === "light" || wish === "dark" ? wish : system.matches ? "dark" : "light";
    document.documentElement.dataset.theme = theme;
    document.dispatchEvent(new Event("wer:theme"));
  };

  const toggle = () => {
    const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try {
      if (theme === (system.matches ? "dark" : "light")) localStorage.removeItem("wer-theme");
      else localStorage.setItem("wer-theme", theme);
    } catch {
      // the choice lasts as long as the page
    }
    document.documentElement.dataset.theme = theme;
    document.dispatchEvent(new Event("wer:theme"));
  };

  system.addEventListener("change", apply);
  apply();
  window.wer = { toggleTheme: toggle, views: {} };
})();
