// Where the visitor was in each entry of the browser's history: Back and Forward give scroll and focus back.
(() => {
  "use strict";
  /** @type {Map<number, {scroll: number, link: string | null}>} */
  const left = new Map();
  let entry = 0;
  let newest = 0;

  const number = () => history.state?.entry ?? null;

  /** Marks the present entry of the history as ours. */
  const mark = () => {
    entry = ++newest;
    try {
      history.replaceState({ entry }, "", location.hash || "#/");
    } catch (error) {
      console.warn(error); // too many calls: this entry will be opened at its top
    }
  };

  const start = () => {
    history.scrollRestoration = "manual";
    newest = number() ?? 0;
    mark();
    /** @param {string | null} link */
    const note = (link) => left.set(entry, { scroll: window.scrollY, link });
    window.addEventListener("scroll", () => note(left.get(entry)?.link ?? null), { passive: true });
    document.addEventListener("click", (event) => {
      const link = event.target instanceof HTMLElement ? event.target.closest("a[href^='#']") : null;
      if (link) note(link.getAttribute("href"));
    });
  };

  /**
   * After another view was drawn: to its top, or to where the visitor left it.
   * @param {HTMLElement} root
   */
  const arrive = (root) => {
    const known = number();
    if (known === null) mark();
    else entry = known;
    const before = known === null ? null : left.get(known);
    const links = before?.link ? [...root.querySelectorAll(/** @type {"a"} */ ("a[href]"))] : [];
    const from = links.find((link) => link.getAttribute("href") === before?.link);
    (from ?? root).focus({ preventScroll: true });
    window.scrollTo(0, before?.scroll ?? 0);
  };

  wer.places = { start, arrive };
})();
