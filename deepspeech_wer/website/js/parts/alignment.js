// Utterances word by word: what was said, and below it what one or two runs heard.
(() => {
  "use strict";
  const { el, aligned } = wer;
  // A sign beside the colour: not everybody tells red from green, and a printer tells neither.
  const SIGNS = { right: "", other: "≠ ", lost: "−", added: "+ ", none: "" };
  const RTL = /^[^A-Za-z\u00c0-\u024f\u0370-\u03ff\u0400-\u04ff]*[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;

  /** @param {string | null} said @param {string | null | undefined} heard */
  const cell = (said, heard) => {
    const kind = aligned.kind(said, heard);
    return el(
      "span",
      { class: `word word-${kind}` },
      SIGNS[kind],
      heard ? wer.bdi(heard) : kind === "none" && "\u00a0",
    );
  };

  /** @param {AlignedColumn} column */
  const column = ({ said, heard }) =>
    el(
      "span",
      { class: "aligned-column" },
      el("span", { class: "word word-said" }, said === null ? "\u00a0" : wer.bdi(said)),
      heard.map((word) => cell(said, word)),
    );

  /** @param {AlignedColumn[]} columns @param {number} run */
  const spoken = (columns, run) =>
    columns
      .map(({ said, heard }) => {
        const kind = aligned.kind(said, heard[run]);
        if (kind === "right") return heard[run];
        if (kind === "other") return `[${heard[run]} for ${said}]`;
        if (kind === "lost") return `[${said} not heard]`;
        return kind === "added" ? `[${heard[run]} not said]` : "";
      })
      .filter(Boolean)
      .join(" ");

  /** The alignment of one utterance. `labels` name the runs, `texts` are their errors. */
  wer.alignment = (reference, labels, texts) => {
    const columns = aligned.columns(reference, texts);
    const rows = ["said", ...labels];
    return el(
      "div",
      { class: "aligned", dir: RTL.test(reference) ? "rtl" : "ltr" },
      el(
        "div",
        { "aria-hidden": "true", class: "aligned-columns" },
        el(
          "span",
          { class: "aligned-column aligned-labels", dir: "ltr" },
          rows.map((row) => el("span", { class: "word" }, row)),
        ),
        columns.map(column),
      ),
      el(
        "dl",
        { class: "visually-hidden" },
        el("dt", {}, "said"),
        el("dd", {}, reference || "nothing"),
        labels.map((label, run) => [el("dt", {}, label), el("dd", {}, spoken(columns, run) || "nothing")]),
      ),
    );
  };

  wer.alignmentKey = () =>
    el(
      "p",
      { class: "hint word-key" },
      el("span", { class: "word word-other" }, "≠ another word"),
      " ",
      el("span", { class: "word word-lost" }, "− not heard"),
      " ",
      el("span", { class: "word word-added" }, "+ heard, not said"),
    );
})();
