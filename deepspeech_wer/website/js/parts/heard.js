// What the tracker itself found in a run's utterances: figures, and where the job says otherwise.
(() => {
  "use strict";
  const { el, format } = wer;

  /** What is wrong with a run's utterances, as notices; nothing if all is well. */
  wer.troubles = (record) => {
    if (!record) return null;
    const lines = [
      record.trouble && `Its utterances are not scored: ${record.trouble}`,
      ...record.differs,
      record.remark,
    ];
    const shown = lines.flatMap((line) => (line ? [line] : []));
    if (!shown.length) return null;
    return el(
      "div",
      { class: "card notice" },
      shown.map((line) => el("p", {}, wer.bdi(format.prose(line)))),
    );
  };

  /** @param {number | null} rate */
  const percent = (rate) => (rate === null ? format.none : format.percent(100 * rate));
  /** @param {Figures} set */
  const interval = ({ interval: found }) =>
    found ? `${format.number(100 * found.low)} to ${format.number(100 * found.high)}` : format.none;

  /** @type {TableColumn<Figures>[]} */
  const COLUMNS = [
    { title: "Test set", class: "breaks", cell: ({ set }) => wer.bdi(set) },
    { title: "WER", class: "number", cell: (set) => percent(set.wer) },
    { title: "95 %", class: "number", cell: interval },
    { title: "by", class: "wide", cell: (set) => set.interval?.by ?? format.none },
    { title: "Words", class: "number wide", cell: ({ words }) => format.count(words.reference) },
    { title: "Substituted", class: "number wide", cell: ({ words }) => format.count(words.substitutions) },
    { title: "Deleted", class: "number wide", cell: ({ words }) => format.count(words.deletions) },
    { title: "Inserted", class: "number wide", cell: ({ words }) => format.count(words.insertions) },
    { title: "CER", class: "number", cell: (set) => percent(set.cer) },
    { title: "Utterances with an error", class: "number wide", cell: (set) => percent(set.sentence_error_rate) },
    { title: "Missing", class: "number wide", cell: ({ missing }) => format.count(missing) },
  ];

  /** The tracker's own figures of a run, with links to its utterances; null if it has none. */
  wer.heardCard = (id, record) => {
    if (!record) return null;
    const { sets, against, is_shown: isShown } = record;
    return wer.card(
      "What it heard",
      {},
      wer.troubles(record),
      sets.length > 0 && wer.table("Figures of the tracker", COLUMNS, sets),
      against && el("p", { class: "below" }, wer.bdi(format.prose(against.sentence))),
      isShown &&
        el(
          "p",
          { class: "below" },
          el("a", { href: wer.utterancesHref(id, null) }, "Its utterances"),
          against && [
            " · ",
            el("a", { href: wer.utterancesHref(id, against.run) }, "Utterances against the run before"),
            " · ",
            el("a", { href: wer.compareHref(against.run, id) }, "Compare with the run before"),
          ],
        ),
    );
  };
})();
