// An utterance with its alignment, and tables of the words, speakers and lengths of many.
(() => {
  "use strict";
  const { el, format, heard } = wer;
  const ROWS = 15; // of a table of words

  /** @param {number} count */
  const difference = (count) => (count > 0 ? `+${format.count(count)}` : count < 0 ? `−${format.count(-count)}` : "0");

  /** @param {Utterance} row */
  const counts = ({ errors, before, words }) => {
    const of = ` in ${format.plural(words, "word", "words")}`;
    if (before === null) return `${format.plural(errors, "error", "errors")}${of}`;
    return `${format.count(before)} → ${format.plural(errors, "error", "errors")} (${difference(errors - before)})${of}`;
  };

  /** @param {Said} said @param {Utterance} row @param {boolean} missing */
  const facts = (said, row, missing) => {
    const seconds = said.seconds?.[row.place];
    return [
      said.names[said.speakers[row.place]] && ["speaker ", wer.bdi(said.names[said.speakers[row.place]])],
      seconds && `${seconds.toFixed(1)} s`,
      missing && "no hypothesis",
    ].filter(Boolean);
  };

  /** @param {Project} project @param {string} id */
  const player = (project, id) => {
    const src = wer.audioUrl(project.audio, id);
    return src && el("audio", { controls: true, preload: "none", src, "aria-label": `Recording ${id}` });
  };

  /** One utterance: {row, text, run, against, labels}; `text` is the reference, null if it could not be read. */
  wer.utterance = (data, { row, text, run, against, labels }) => {
    const { said } = run;
    const texts = against && row.other !== null ? [against.edits[row.other], run.edits[row.place]] : [run.edits[row.place]];
    const about = facts(said, row, run.missing.includes(row.place));
    return el(
      "li",
      { class: "utterance" },
      el(
        "p",
        { class: "utterance-head" },
        wer.bdi(said.ids[row.place], { class: "mono utterance-id" }),
        el("span", { class: "chip nowrap" }, counts(row)),
        el(
          "span",
          { class: "muted" },
          about.map((fact, k) => [k > 0 && " · ", fact]),
        ),
      ),
      player(data.project, said.ids[row.place]),
      text === null
        ? el("p", { class: "muted" }, "What was said could not be read.")
        : wer.alignment(text, labels, texts),
    );
  };

  /** @param {string | null} text */
  const word = (text) => (text === null ? el("span", { class: "muted" }, "nothing") : wer.bdi(text));

  /** @param {boolean} isCompared @returns {TableColumn<WordError>[]} */
  const wordColumns = (isCompared) => {
    /** @type {TableColumn<WordError>} */
    const before = { title: "Before", class: "number", cell: (row) => format.count(row.before) };
    /** @type {TableColumn<WordError>} */
    const change = { title: "Change", class: "number", cell: (row) => difference(row.count - (row.before ?? 0)) };
    return [
      { title: "Said", class: "breaks", cell: ({ said }) => word(said) },
      { title: "Heard", class: "breaks", cell: ({ heard: heardWord }) => word(heardWord) },
      ...(isCompared ? [before] : []),
      { title: isCompared ? "After" : "Times", class: "number", cell: ({ count }) => format.count(count) },
      ...(isCompared ? [change] : []),
    ];
  };

  /** The most frequent word errors of each kind, or those that changed most. */
  wer.wordTables = (found, isCompared) =>
    el(
      "div",
      { class: "columns" },
      Object.entries(found).map(([kind, rows]) => {
        const title = kind[0].toUpperCase() + kind.slice(1);
        const shown = rows.filter(({ count, before }) => !isCompared || count !== before).slice(0, ROWS);
        return wer.card(
          title,
          {},
          shown.length ? wer.table(title, wordColumns(isCompared), shown) : el("p", { class: "muted" }, "none"),
        );
      }),
    );

  /** @param {number} errors @param {number} words */
  const rate = (errors, words) => (words ? format.percent((100 * errors) / words) : format.none);
  /** @param {Sum} sum */
  const points = ({ errors, before, words }) =>
    words ? format.points((100 * (errors - (before ?? 0))) / words) : format.none;

  /** @param {string} title @param {string} label @param {Sum[]} sums @param {(key: any) => Child} name */
  const sumsTable = (title, label, sums, name) =>
    wer.table(
      title,
      [
        { title: label, class: "breaks", cell: ({ key }) => name(key) },
        { title: "Utterances", class: "number wide", cell: ({ utterances }) => format.count(utterances) },
        {
          title: "Errors / words",
          class: "number",
          cell: ({ errors, words }) => `${format.count(errors)} / ${format.count(words)}`,
        },
        { title: "WER", class: "number", cell: ({ errors, words }) => rate(errors, words) },
        ...(sums.some(({ before }) => before !== null) ? [{ title: "Change", class: "number", cell: points }] : []),
      ],
      sums,
    );

  /** Errors by speaker and by length; `most` speakers. */
  wer.sumsCards = (rows, said, most) => {
    const speakers = heard.bySpeaker(rows, said);
    const more = speakers.length - most;
    return el(
      "div",
      { class: "columns" },
      speakers.length > 0 &&
        wer.card(
          "By speaker",
          {},
          sumsTable("Errors by speaker", "Speaker", speakers.slice(0, most), (key) =>
            key === null ? "unknown" : wer.bdi(key),
          ),
          more > 0 && el("p", { class: "hint" }, `and ${format.plural(more, "speaker", "speakers")} with fewer errors`),
        ),
      wer.card("By length", {}, sumsTable("Errors by length", "Words", heard.byLength(rows), heard.lengthName)),
    );
  };
})();
