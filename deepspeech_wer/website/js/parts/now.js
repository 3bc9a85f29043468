// What the tracker is doing now, as js/now.js says. It is read again each minute, also by a page on a wall.
(() => {
  "use strict";
  const { el, format } = wer;
  const QUIET_MS = 60_000; // the page is loaded anew only while nobody uses it
  const SLACK_S = 900; // ticks are minutes apart, and a publish takes a while
  let touched = 0;

  /** What js/now.js says, with times in seconds; null where there is none, or it is damaged or newer. */
  const read = () => {
    const now = window.WER_NOW;
    const lookedAt = wer.decode.seconds(now?.looked_at);
    if (now?.version !== 1 || lookedAt === null) return null;
    return { ...now, lookedAt, every: Number(now.every) || 0 };
  };

  /**
   * "fresh", "stale" or "very-stale", by the visitor's clock and the tracker's own rhythm.
   * @param {Now} now
   * @param {number} silent
   */
  const stateOf = (now, silent) => {
    if (!now.every) return silent > 7 * 86_400 ? "very-stale" : silent > 2 * 86_400 ? "stale" : "fresh";
    if (silent <= now.every + SLACK_S) return "fresh";
    return silent <= Math.max(2 * now.every, now.every + 2 * SLACK_S) ? "stale" : "very-stale";
  };

  /** @param {string} name @param {string} value */
  const remembered = (name, value) => {
    try {
      const before = sessionStorage.getItem(name);
      sessionStorage.setItem(name, value);
      return before;
    } catch {
      return value; // without storage the page cannot know whether it was loaded anew for this already
    }
  };

  /** Loads the page anew where a newer one was published, once for each, and not under a visitor's hands. */
  const renew = () => {
    const now = read();
    const script = document.querySelector("script[src^='js/index.']");
    const opened = script?.getAttribute("src");
    if (!now?.index || !opened || now.index === opened || Date.now() - touched < QUIET_MS) return;
    if (remembered("wer-renewed", now.index) !== now.index) location.reload();
  };

  /** @param {Job} job */
  const share = (job) => (job.epoch && job.epochs ? Math.round((100 * job.epoch) / job.epochs) : null);

  /** @param {Job} job */
  const progress = (job) => {
    const done = share(job);
    const ends = wer.decode.seconds(job.ends_at);
    return [
      job.epoch ? `epoch ${job.epoch}${job.epochs ? ` of ${job.epochs}` : ""}` : "no epoch yet",
      done !== null && ` (${done} %)`,
      ends !== null && ` · ends about ${format.minute(ends)} UTC`,
    ];
  };

  /** @param {Job} job */
  const losses = (job) => {
    const rows = Array.isArray(job.curve) ? job.curve : [];
    return wer.curves("Loss by epoch", {
      xs: rows.map(([epoch]) => epoch ?? NaN),
      series: [
        { label: "train", ys: rows.map(([, train]) => train) },
        { label: "validation", ys: rows.map(([, , validation]) => validation) },
      ],
      describe: (x) => `epoch ${x}`,
    });
  };

  /** @param {Job} job */
  const beside = (job) =>
    (Array.isArray(job.beside) ? job.beside.filter((other) => other && other.sha) : []).map((other) =>
      el(
        "p",
        {},
        "Beside it: ",
        el("span", { class: "mono" }, String(other.sha).slice(0, 8)),
        " ",
        wer.bdi(wer.shortSubject(String(other.subject), String(other.author))),
      ),
    );

  /** @param {Job} job */
  const running = (job) => [
    el(
      "p",
      {},
      job.again ? "Training again: " : "Training: ",
      el("span", { class: "mono" }, String(job.sha).slice(0, 8)),
      " ",
      wer.bdi(wer.shortSubject(String(job.subject), String(job.author))),
      job.attempt > 1 && `, ${format.nth(job.attempt)} attempt`,
    ),
    el("p", { class: "hint" }, progress(job), ` · since ${format.minute(wer.decode.seconds(job.started_at))} UTC`),
    losses(job),
    beside(job),
  ];

  /** @param {number} count */
  const waiting = (count) => (count ? `${format.plural(count, "merge waits", "merges wait")}.` : "No merge waits.");

  /** nowCard() -> what runs and what waits, or null where the tracker does not say. It keeps itself up to date. */
  const card = () => {
    const now = read();
    return el(
      "section",
      { class: "card now", hidden: !now },
      el("h2", {}, "Now"),
      now && (now.job ? running(now.job) : el("p", {}, "Nothing is being trained.")),
      now && el("p", { class: "hint" }, waiting(now.waiting), ` The tracker looked ${format.ago(now.lookedAt)}.`),
    );
  };

  /**
   * Puts a card into the page; returns what stops it.
   * @param {HTMLElement} place
   */
  const show = (place) => {
    const draw = () => wer.views.safely(place, () => wer.replace(place, card()));
    draw();
    document.addEventListener("wer:now", draw);
    return () => document.removeEventListener("wer:now", draw);
  };

  for (const kind of ["pointerdown", "keydown", "wheel"])
    window.addEventListener(kind, () => (touched = Date.now()), { passive: true });

  wer.now = { read, stateOf, show, renew };
})();
