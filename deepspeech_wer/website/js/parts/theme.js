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

  /** A canvas knows no CSS: what draws on one takes its colours from here. */
  const palette = {};
  const readPalette = () => {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["test", "validation", "train", "muted", "grid", "bad"])
      palette[name] = style.getPropertyValue(`--${name}`).trim();
    palette.font = `12px ${style.getPropertyValue("--font")}`;
  };

  const show = (theme) => {
    document.documentElement.dataset.theme = theme;
    readPalette();
    document.dispatchEvent(new Event("wer:theme"));
  };

  const preferred = () => (system.matches ? "dark" : "light");

  const apply = () => {
    const wish = chosen();
    show(wish === "light" || wish === "dark" ? wish : preferred());
  };

  const toggle = () => {
    const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try {
      if (theme === preferred()) localStorage.removeItem("wer-theme");
      else localStorage.setItem("wer-theme", theme);
    } catch {
      // the choice lasts as long as the page
    }
    show(theme);
  };

  system.addEventListener("change", apply);
  apply();
  window.wer = { toggleTheme: toggle, palette };
})();
