// How a run appears in text and tables: link, change, status, and the columns of a table of runs.
(() => {
  "use strict";
  const { el, format } = wer;

  wer.runLink = (data, i) =>
    el("a", { class: "mono", href: wer.runHref(data.ids[i]) }, data.shas[i].slice(0, 8) || data.ids[i]);

  /** A change is grey, neither good nor bad: the page does not know whether it is noise. */
  wer.change = (delta) =>
    delta === null ? el("span", { class: "muted" }, format.none) : el("span", { class: "chip" }, format.points(delta));

  // Each state has a sign beside its colour: not everybody tells red from green.
  const SIGNS = {
    worse: ["▲", "chip-failed"],
    suspect: ["▲?", "chip-suspect"],
    failed: ["✕", "chip-failed"],
    better: ["▼", "chip-good"],
    recovered: ["▼", "chip-good"],
    unchanged: ["=", ""],
    "no change seen": ["≈", ""],
  };

  /** The verdict on a merge, as a chip; null where there is none. */
  wer.verdict = (state) => {
    if (!state) return null;
    const [sign, colour] = SIGNS[state] ?? ["·", ""];
    return el("span", { class: `chip nowrap ${colour}` }, `${sign} ${state}`);
  };

  const status = (data, i) =>
    wer.failed(data, i)
      ? el("span", { class: "chip chip-failed" }, "✕ ", data.status[i])
      : el("span", { class: "chip" }, "done");

  const runColumns = {
    run: (data) => ({ title: "Run", cell: (i) => wer.runLink(data, i) }),
    merge: (data) => ({ title: "№", class: "number wide", cell: (i) => data.ordinals[i] }),
    started: (data) => ({
      title: "Started (UTC)",
      class: "nowrap",
      cell: (i) => [
        format.date(data.started[i]),
        el("span", { class: "wide-inline" }, format.minute(data.started[i]).slice(10)),
      ],
    }),
    subject: (data) => ({
      title: "Subject",
      class: "subject wide",
      cell: (i) => el("span", { title: wer.subject(data, i) }, wer.subject(data, i)),
    }),
    test: (data) => ({
      title: "Test",
      class: "number",
      cell: (i) => (wer.failed(data, i) ? status(data, i) : format.percent(data.test[i])),
    }),
    delta: (data) => ({ title: "Change", class: "number", cell: (i) => wer.change(wer.delta(data, i)) }),
    verdict: (data) => ({ title: "Verdict", cell: (i) => wer.verdict(data.verdicts?.[i]) ?? format.none }),
    validation: (data) => ({
      title: "Validation",
      class: "number wide",
      cell: (i) => format.percent(data.validation[i]),
    }),
    train: (data) => ({ title: "Train", class: "number wide", cell: (i) => format.percent(data.train[i]) }),
    errors: (data) => ({
      title: "Errors / words",
      class: "number widest",
      cell: (i) => format.errors(data, i, " / ", "") ?? format.none,
    }),
    took: (data) => ({ title: "Took", class: "number wide nowrap", cell: (i) => format.duration(data.took[i]) }),
  };
  wer.runColumns = (data, ...names) => names.map((name) => ({ name, ...runColumns[name](data) }));
})();
