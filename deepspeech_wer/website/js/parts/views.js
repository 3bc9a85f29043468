// The views of the page. Each registers itself, and index.htm alone decides which ones there are.
(() => {
  "use strict";
  /** @type {Map<string, View>} */
  const all = new Map();

  /**
   * Registers a view. Its name is the first part of its address.
   * @param {View} view
   */
  const add = (view) => {
    if (all.has(view.name)) throw new Error(`two views are called ${view.name}`);
    all.set(view.name, view);
  };

  /** @param {string} name */
  const find = (name) => all.get(name) ?? null;

  /** The views that have a link in the head, in the order of the links. */
  const linked = () =>
    [...all.values()].filter(({ place }) => place !== undefined).sort((a, b) => (a.place ?? 0) - (b.place ?? 0));

  /** @param {unknown} error */
  const fault = (error) =>
    wer.message(
      "This view cannot be drawn",
      "The other views still work. The data may be damaged, or this is a fault of the page: please report it.",
      wer.el("p", { class: "mono" }, String(error).slice(0, 300)),
    );

  /**
   * Does `work`, and shows in `root` what went wrong: the fault of one view stays in it.
   * @param {HTMLElement} root
   * @param {() => any} work
   */
  const safely = (root, work) => {
    try {
      return work();
    } catch (error) {
      console.error(error);
      wer.replace(root, fault(error));
      return null;
    }
  };

  wer.views = { add, find, linked, safely };
})();
