// What the page asks of the browser besides drawing: the address bar and saving a file.
(() => {
  "use strict";
  /** Writes the state into the address. Unlike `location.hash =`, this does not draw the view again. */
  wer.setAddress = (hash) => {
    if (location.hash !== hash) history.replaceState(null, "", hash);
  };

  wer.download = (name, text, type) => {
    const url = URL.createObjectURL(new Blob([text], { type }));
    wer.el("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  };
})();
