// Creates elements. All data enters the page here, and only as text nodes and attributes, never as markup.
(() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";

  /**
   * @template {Element} Parent
   * @param {Parent} parent
   * @param {Child[]} children
   */
  const append = (parent, children) => {
    for (const child of /** @type {unknown[]} */ (children).flat(Infinity)) {
      if (child === null || child === undefined || child === false) continue;
      parent.append(child instanceof Node ? child : document.createTextNode(String(child)));
    }
    return parent;
  };

  /**
   * @template {Element} Made
   * @param {Made} element
   * @param {Attributes | undefined} attributes
   */
  const set = (element, attributes) => {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name.startsWith("aria-"))
        element.setAttribute(name, value); // aria attributes need the word "false"
      else if (value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    return element;
  };

  /** el("a", {class: "x", href: "#/", onclick: f}, "text", child, [more]) */
  wer.el = (tag, attributes, ...children) => append(set(document.createElement(tag), attributes), children);
  wer.svg = (tag, attributes, ...children) => append(set(document.createElementNS(SVG, tag), attributes), children);
  /** An element of index.htm. */
  wer.byId = (id) => {
    const element = document.getElementById(id);
    if (!element) throw new Error(`index.htm has no element ${id}`);
    return element;
  };
  /** Text of others. A direction mark in it, such as U+202E, does not turn around what follows. */
  wer.bdi = (text, attributes) => wer.el("bdi", attributes, text);
  wer.replace = (parent, ...children) => {
    parent.replaceChildren();
    return append(parent, children);
  };

  wer.outside = (href, ...children) =>
    href ? wer.el("a", { href, rel: "noopener noreferrer" }, ...children) : wer.el("span", {}, ...children);
})();
