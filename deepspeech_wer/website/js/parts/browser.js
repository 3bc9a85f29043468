// What the page asks of the browser besides drawing: the address bar and saving a file.
(() => {
  "use strict";
  const EVERY_MS = 400; // browsers throw after 100 calls of replaceState in 30 seconds
  const AGAIN_MS = 10_000; // after it threw
  /** @type {{hash: string, of: string} | null} */
  let waiting = null;
  let timer = 0;
  let free = 0; // when the next call is due

  const write = () => {
    timer = 0;
    const wanted = waiting;
    waiting = null;
    if (!wanted || location.hash !== wanted.of) return; // the visitor went elsewhere in the meantime
    free = Date.now() + EVERY_MS;
    try {
      history.replaceState(history.state, "", wanted.hash);
    } catch (error) {
      console.warn(error);
      waiting = wanted;
      timer = setTimeout(write, AGAIN_MS);
    }
  };

  /** Writes the state into the address, at most every EVERY_MS. Unlike `location.hash =`, this draws nothing. */
  wer.setAddress = (hash) => {
    if (location.hash === hash && !waiting) return;
    waiting = { hash, of: location.hash };
    if (timer) return;
    if (Date.now() >= free) write();
    else timer = setTimeout(write, free - Date.now());
  };

  /** Writes a state that waits, before the visitor leaves. */
  wer.flushAddress = () => {
    if (!waiting) return;
    clearTimeout(timer);
    write();
  };

  wer.download = (name, text, type) => {
    const url = URL.createObjectURL(new Blob([text], { type }));
    wer.el("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  };
})();
