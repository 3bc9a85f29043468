// Building blocks for all views: card, tile, notice, heading, choice, table. They know nothing about runs.
(() => {
  "use strict";
  const { el } = wer;

  wer.card = (title, attributes, ...children) =>
    el(
      "section",
      { ...attributes, class: `card ${attributes?.class || ""}` },
      title && el("h2", {}, title),
      ...children,
    );

  /** A card whose title has a link to all of what the card shows a part of. */
  wer.cardOfSome = (title, href, text, ...children) =>
    el(
      "section",
      { class: "card" },
      el("div", { class: "card-head" }, el("h2", {}, title), el("span", { class: "grow" }), el("a", { href }, text)),
      ...children,
    );

  wer.tile = (label, value, unit, ...notes) =>
    el(
      "div",
      { class: "tile" },
      el("p", { class: "tile-label" }, label),
      el("p", { class: "tile-value" }, value, unit && el("span", { class: "unit" }, ` ${unit}`)),
      notes.map((note) => note && el("p", { class: "tile-note" }, note)),
    );

  /** @param {"h1" | "h2"} heading */
  const notice =
    (heading) =>
    (/** @type {string} */ title, /** @type {string} */ text, /** @type {Child[]} */ ...more) =>
      el("section", { class: "card notice", role: "status" }, el(heading, {}, title), el("p", {}, text), ...more);
  wer.notice = notice("h2");
  /** A notice in place of a view, and therefore with the h1. */
  wer.message = notice("h1");

  wer.heading = (title, ...about) => [el("h1", {}, title), about.length ? el("p", { class: "lead" }, ...about) : null];

  /** A group of buttons, one of which is pressed. `press(key)` changes that without calling `choose`. */
  wer.choice = (label, options, chosen, choose) => {
    const buttons = options.map(([key, text]) =>
      el("button", { type: "button", "aria-pressed": key === chosen, onclick: () => (press(key), choose(key)) }, text),
    );
    /** @param {string | null} key */
    const press = (key) => options.forEach(([other], i) => buttons[i].setAttribute("aria-pressed", String(other === key)));
    const group = el("div", { class: "choice", role: "group", "aria-label": label }, buttons);
    return Object.assign(group, { press });
  };

  /** A table that scrolls by itself where it is too wide for the page. columns: [{title, class, cell(row)}] */
  wer.table = (label, columns, rows) =>
    el(
      "div",
      { class: "scroll", role: "region", "aria-label": label, tabindex: 0 },
      el(
        "table",
        {},
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            columns.map((column) =>
              el("th", { scope: "col", class: column.class, "aria-sort": column.sorted }, column.title),
            ),
          ),
        ),
        el(
          "tbody",
          {},
          rows.map((row) =>
            el(
              "tr",
              {},
              columns.map((column) => el("td", { class: column.class }, column.cell(row))),
            ),
          ),
        ),
      ),
    );
})();
