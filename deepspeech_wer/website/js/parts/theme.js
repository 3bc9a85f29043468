// Light or dark: the visitor's choice, or else the system's. Loaded first, lest the page flash in the wrong colours.
// Therefore this script creates `wer`, the one global that all scripts share.
(() => {
  "use strict";
  const system = matchMedia("(prefers-color-scheme: dark)");

  const chosen = () => {
    try {
      return localStorage.getItem("wer-theme");
    } catch {
      return null; // browsers may forbid storage, for example on file://
    }
  };

  /** The colours of page.css for drawing on a canvas, which CSS does not reach. */
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
      // without storage the choice lasts until the page is left
    }
    show(theme);
  };

  system.addEventListener("change", apply);
  apply();
  window.wer = { toggleTheme: toggle, palette };
})();
