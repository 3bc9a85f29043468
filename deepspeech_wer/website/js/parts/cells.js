// How a run appears in text and tables: link, change, status, and the columns of a table of runs.
(() => {
  "use strict";
  const { el, format } = wer;
  const LISTED = 12; // parameters

  /**
   * What a table of the page has of a name; null for any other text, such as `__proto__`.
   * @template Found
   * @param {Record<string, Found>} table
   * @param {string | null | undefined} name
   * @returns {Found | null}
   */
  const own = (table, name) => (name && Object.hasOwn(table, name) ? table[name] : null);
  wer.own = own;

  wer.runLink = (data, i) =>
    el("a", { class: "mono", href: wer.runHref(data.ids[i]) }, wer.shortSha(data, i) || data.ids[i]);

  // Each direction has a sign beside its colour: not everybody tells red from green.
  /** @type {Record<string, [sign: string, colour: string, word: string]>} */
  const DIRECTIONS = {
    worse: ["▲", "chip-failed", "worse"],
    better: ["▼", "chip-good", "better"],
    suspect: ["▲?", "chip-suspect", "suspect"],
    noise: ["≈", "", "within noise"],
  };

  /**
   * A change in percentage points, in the colour and with the sign of its direction; grey where nobody judged it.
   * @param {number | null} delta
   * @param {Direction | undefined} direction
   */
  wer.change = (delta, direction) => {
    if (delta === null) return el("span", { class: "muted" }, format.none);
    const [sign, colour, word] = own(DIRECTIONS, direction) ?? ["", "", "not judged"];
    return el("span", { class: `chip ${colour}`, title: word }, sign && `${sign} `, format.points(delta));
  };

  /** What a run is compared with, a line each: the merge before, and the last run with the same parameters. */
  wer.changeNotes = (data, i) => {
    const found = wer.changes(data, i);
    if (found.before === null) return ["first of this test set"];
    const first = [wer.change(found.delta, found.direction), " since ", wer.runLink(data, found.before)];
    if (found.isFirst) return [first, "first with these parameters"];
    if (found.same === null) return [first];
    const link = wer.runLink(data, found.same);
    return [first, [wer.change(found.sameDelta, found.sameDirection), " since ", link, ", same parameters"]];
  };

  /** @param {Parameter[]} changed */
  const parameterLines = (changed) =>
    el(
      "ul",
      { class: "plain" },
      changed.map(({ name, was, is }) =>
        el("li", {}, wer.bdi(name, { class: "mono" }), " ", wer.bdi(was, { class: "was" }), " → ", el("b", {}, wer.bdi(is))),
      ),
    );

  /** Parameters that differ, as "name old → new"; many are folded. */
  wer.parameterList = (changed) => {
    const more = changed.slice(LISTED);
    return el(
      "div",
      {},
      parameterLines(changed.slice(0, LISTED)),
      more.length > 0 && el("details", {}, el("summary", {}, `and ${format.count(more.length)} more`), parameterLines(more)),
    );
  };

  /** @type {Record<string, [sign: string, colour: string]>} */
  const STATES = {
    worse: ["▲", "chip-failed"],
    suspect: ["▲?", "chip-suspect"],
    failed: ["✕", "chip-failed"],
    open: ["▲", "chip-failed"],
    better: ["▼", "chip-good"],
    recovered: ["▼", "chip-good"],
    accepted: ["✓", ""],
    unchanged: ["=", ""],
    "no change seen": ["≈", ""],
    dismissed: ["≈", ""],
    "cannot tell": ["?", ""],
  };

  /**
   * The verdict on a merge or the state of a regression, as a chip; null where there is none.
   * @param {string | null | undefined} state
   */
  wer.verdict = (state) => {
    if (!state) return null;
    const [sign, colour] = own(STATES, state) ?? ["·", ""];
    return el("span", { class: `chip ${colour}` }, `${sign} ${state}`);
  };

  /** @param {Data} data @param {number} i */
  const status = (data, i) => el("span", { class: "chip chip-failed" }, "✕ ", wer.bdi(data.status[i]));

  /** @param {Data} data @param {number} i */
  const changeCell = (data, i) => {
    const found = wer.changes(data, i);
    return wer.change(found.delta, found.direction);
  };

  /** @param {Data} data @param {number} i */
  const sameCell = (data, i) => {
    const found = wer.changes(data, i);
    const text = found.before === null ? format.none : found.isFirst ? "first" : "the same";
    return found.same === null ? el("span", { class: "muted" }, text) : wer.change(found.sameDelta, found.sameDirection);
  };

  /** @param {Data} data @param {number} i */
  const subject = (data, i, attributes = {}) => wer.bdi(wer.about(data, i), { title: wer.subject(data, i), ...attributes });

  /**
   * What a phone shows below the link to a run, where the columns have no room.
   * @param {Data} data
   * @param {number} i
   */
  const below = (data, i) =>
    el(
      "span",
      { class: "narrow" },
      subject(data, i, { class: "narrow-subject" }),
      el("span", { class: "muted" }, format.minute(data.started[i])),
    );

  /** @type {Record<string, (data: Data) => TableColumn<number>>} */
  const runColumns = {
    run: (data) => ({ title: "Run", cell: (i) => [wer.runLink(data, i), below(data, i)] }),
    merge: (data) => ({ title: "№", class: "number wide", cell: (i) => data.ordinals[i] }),
    started: (data) => ({
      title: "Started (UTC)",
      class: "nowrap wide",
      cell: (i) => format.minute(data.started[i]),
    }),
    subject: (data) => ({ title: "Merge", class: "subject wide", cell: (i) => subject(data, i) }),
    test: (data) => ({
      title: "Test",
      class: "number",
      cell: (i) => [
        wer.failed(data, i) ? status(data, i) : format.percent(data.test[i]),
        el("span", { class: "narrow" }, changeCell(data, i)),
      ],
    }),
    delta: (data) => ({ title: "Change", class: "number wide", cell: (i) => changeCell(data, i) }),
    same: (data) => ({ title: "Same parameters", class: "number widest", cell: (i) => sameCell(data, i) }),
    verdict: (data) => ({
      title: "Verdict",
      class: "wide",
      cell: (i) => wer.verdict(data.verdicts?.[i]) ?? format.none,
    }),
    validation: (data) => ({
      title: "Validation",
      class: "number broader",
      cell: (i) => format.percent(data.validation[i]),
    }),
    train: (data) => ({ title: "Train", class: "number broader", cell: (i) => format.percent(data.train[i]) }),
    errors: (data) => ({
      title: "Errors / words",
      class: "number utmost",
      cell: (i) => format.errors(data, i, " / ", "") ?? format.none,
    }),
    took: (data) => ({ title: "Took", class: "number wider nowrap", cell: (i) => format.duration(data.took[i]) }),
  };
  wer.runColumns = (data, ...names) => names.map((name) => ({ name, ...runColumns[name](data) }));
})();
