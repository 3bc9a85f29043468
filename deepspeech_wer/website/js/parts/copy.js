// A button that copies text. On file:// and plain http browsers have no clipboard of their own: then the old way.
(() => {
  "use strict";
  const { el } = wer;

  /** @param {string} text */
  const theOldWay = (text) => {
    const area = el("textarea", { class: "visually-hidden", "aria-hidden": "true", tabindex: -1 });
    area.value = text;
    document.body.append(area);
    area.select();
    const well = document.execCommand("copy");
    area.remove();
    return well;
  };

  /** @param {string} text */
  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      return theOldWay(text);
    }
  };

  /** A button that copies what `make()` returns, and says whether it could. */
  wer.copyButton = (label, make) => {
    const said = el("span", { class: "muted", role: "status" });
    const press = async () => {
      said.textContent = (await copy(make())) ? " copied" : " could not be copied";
      button.focus();
    };
    const button = el("button", { type: "button", class: "button", onclick: press }, label);
    return el("span", { class: "copy" }, button, said);
  };
})();
