// Light or dark: the visitor's choice, or else the system's. Loaded first, lest the page flash in the wrong colours.
// Therefore this script creates `wer`, the one global that all scripts share.
(() => {
  "use strict";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const forced = matchMedia("(forced-colors: active)");

  const chosen = () => {
    try {
      return localStorage.getItem("wer-theme");
    } catch {
      return null; // browsers may forbid storage, for example on file://
    }
  };

  /** @type {Colour[]} */
  const COLOURS = ["test", "validation", "train", "muted", "grid", "bad", "good", "warn", "text", "card"];

  /** The colours of page.css for drawing on a canvas, which CSS does not reach. */
  const palette = /** @type {Palette} */ ({});

  /** System colours, as forced colours use, reach the canvas as numbers: it has no notion of forced colours. */
  const readPalette = () => {
    const root = document.documentElement;
    const style = getComputedStyle(root);
    const probe = root.appendChild(document.createElement("i"));
    probe.className = "probe";
    for (const name of COLOURS) {
      probe.style.color = style.getPropertyValue(`--${name}`).trim();
      palette[name] = getComputedStyle(probe).color;
    }
    probe.remove();
    palette.font = `12px ${style.getPropertyValue("--font")}`;
    palette.isForced = forced.matches;
  };

  /** @param {string} theme */
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
  forced.addEventListener("change", apply);
  apply();
  window.wer = { toggleTheme: toggle, palette };
})();
