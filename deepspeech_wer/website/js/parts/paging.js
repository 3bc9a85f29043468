// What long lists have: a field to search them, and pages.
(() => {
  "use strict";
  const { el, format } = wer;

  /**
   * A field that calls `changed(text)` at each keystroke.
   * @param {string} text
   * @param {string} placeholder
   * @param {(text: string) => void} changed
   */
  const searchField = (text, placeholder, changed) => {
    const input = el("input", {
      type: "search",
      id: "search",
      placeholder,
      value: text,
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => changed(input.value),
    });
    return el("label", { class: "search", for: "search" }, el("span", { class: "visually-hidden" }, "Search"), input);
  };

  /**
   * The page of an address, from 1; what is none counts as the first.
   * @param {URLSearchParams} query
   */
  const wanted = (query) => Math.max(1, Number.parseInt(query.get("page") ?? "", 10) || 1);

  /**
   * Which page of `count` rows is shown, if visitors want `page`.
   * @param {number} page
   * @param {number} count
   * @param {number} size
   */
  const within = (page, count, size) => Math.min(page, Math.max(1, Math.ceil(count / size)));

  /** @param {any[]} rows @param {number} page @param {number} size */
  const slice = (rows, page, size) => rows.slice((page - 1) * size, page * size);

  /**
   * Buttons to the page before and after; null where there is one page.
   * @param {number} page
   * @param {number} count
   * @param {number} size
   * @param {(to: number) => void} turn
   */
  const pager = (page, count, size, turn) => {
    const pages = Math.ceil(count / size);
    if (pages < 2) return null;
    /** @param {number} to @param {string} text */
    const button = (to, text) =>
      el(
        "button",
        { type: "button", class: "button", "data-key": text, disabled: to < 1 || to > pages, onclick: () => turn(to) },
        text,
      );
    return el(
      "div",
      { class: "pager" },
      button(page - 1, "‹ Previous"),
      el("span", {}, `page ${format.count(page)} of ${format.count(pages)}`),
      button(page + 1, "Next ›"),
    );
  };

  wer.paging = { searchField, wanted, within, slice, pager };
})();
