// The views of the page. Each registers itself, and index.htm alone decides which ones there are.
(() => {
  "use strict";
  const all = new Map();

  /**
   * Registers a view: {name, title, place, draw(root, data, {rest, query}) -> clean-up or null}.
   *
   * `name` is the first part of its address, `place` where its link stands in the head; without one it has no link.
   */
  const add = (view) => {
    if (all.has(view.name)) throw new Error(`two views are called ${view.name}`);
    all.set(view.name, view);
  };

  const find = (name) => all.get(name) ?? null;

  /** The views that have a link in the head, in the order of the links. */
  const linked = () =>
    [...all.values()].filter(({ place }) => place !== undefined).sort((a, b) => (a.place ?? 0) - (b.place ?? 0));

  wer.views = { add, find, linked };
})();
