// What the page asks of the browser besides drawing.
(() => {
  "use strict";
  /** Note the state in the address without drawing again. */
  wer.setAddress = (hash) => {
    if (location.hash !== hash) history.replaceState(null, "", hash);
  };

  wer.download = (name, text, type) => {
    const url = URL.createObjectURL(new Blob([text], { type }));
    wer.el("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  };
})();
