// Any two runs: what differs, from the columns and the two runs' own files. Subtractions; what is said about them is
// Python's, or says itself that it is only counts.
(() => {
  "use strict";
  const { format } = wer;
  const MERGES = 50; // listed in the text

  /** @param {Percent} before @param {Percent} after */
  const points = (before, after) => (before === null || after === null ? null : after - before);

  /** @param {Detail | null} before @param {Detail | null} after */
  const variables = (before, after) => {
    const [old, now] = [before?.variables, after?.variables];
    if (!old || !now) return [];
    return [...new Set([...Object.keys(old), ...Object.keys(now)])].filter((name) => old[name] !== now[name]).sort();
  };

  /**
   * Why a difference may not come from the code.
   * @param {Data} data
   * @param {number} a
   * @param {number} b
   * @param {Detail | null} before
   * @param {Detail | null} after
   * @param {Parameter[]} changed
   */
  const doubts = (data, a, b, before, after, changed) => {
    const between = Math.abs(b - a) - 1;
    const names = variables(before, after);
    const all = [
      data.signatures[a] !== data.signatures[b] &&
        "The test set, normaliser or decoder is another one: the rates cannot be compared.",
      names.length > 0 && `The operator changed ${names.join(", ")}.`,
      changed.length > 0 &&
        `${format.plural(changed.length, "parameter differs", "parameters differ")}: the change may come from there.`,
      between > 0 && `${format.plural(between, "other run lies", "other runs lie")} between these two.`,
      a > b && "The second run is of an earlier merge than the first.",
    ];
    return all.flatMap((line) => (line ? [line] : []));
  };

  /**
   * @param {string} label
   * @param {Data} data
   * @param {LineKey} column
   * @param {number} a
   * @param {number} b
   * @returns {PairRow}
   */
  const rateRow = (label, data, column, a, b) => ({
    label,
    before: data[column][a],
    after: data[column][b],
    change: points(data[column][a], data[column][b]),
    state: "",
  });

  /** @param {Detail | null} detail @param {string} name */
  const setOf = (detail, name) => detail?.heard?.sets.find(({ set }) => set === name) ?? null;

  /** @param {Detail | null} before @param {Detail | null} after @returns {PairRow[]} */
  const measured = (before, after) =>
    (after?.heard?.sets ?? []).flatMap((now) => {
      const was = setOf(before, now.set);
      if (!was || was.wer === null || now.wer === null) return [];
      const same = was.test_set === now.test_set;
      const [x, y] = [100 * was.wer, 100 * now.wer];
      return [{ label: now.set, before: x, after: y, change: y - x, isSame: same, sets: [was, now], state: "" }];
    });

  /**
   * What the noise of a training makes of a difference; "" where it is not known.
   * @param {number | null} change
   * @param {HeardRecord["noise"] | undefined} noise
   */
  const beside = (change, noise) => {
    if (!noise || change === null) return "";
    return Math.abs(change) <= noise.between_pp ? "within noise" : "more than noise gives";
  };

  /**
   * @param {Data} data
   * @param {number} a
   * @param {number} b
   * @param {Detail | null} before
   * @param {Detail | null} after
   */
  const rowsOf = (data, a, b, before, after) => {
    const sets = measured(before, after);
    const judged = after?.heard?.against?.run === data.ids[a] ? data.verdicts?.[b] : "";
    const isComparable = data.signatures[a] === data.signatures[b];
    const noise = after?.heard?.noise ?? before?.heard?.noise;
    const tests = sets.length ? sets : [rateRow("test", data, "test", a, b)];
    const main = tests.find(({ label }) => label === "test") ?? tests[0]; // the noise is that of one test set
    for (const row of tests) {
      if (!isComparable || row.isSame === false) row.state = "not comparable";
      else if (row === main) row.state = judged || beside(row.change, noise);
    }
    return [...tests, rateRow("validation", data, "validation", a, b), rateRow("train", data, "train", a, b)];
  };

  /**
   * What noise gives between any two trainings, in sentences.
   * @param {Detail | null} before
   * @param {Detail | null} after
   */
  const noiseLines = (before, after) => {
    const noise = after?.heard?.noise ?? before?.heard?.noise;
    const [set] = after?.heard?.against?.sets ?? [];
    return [
      noise &&
        `Two trainings of one commit differ by up to ${format.number(noise.between_pp)} pp in 95 % of cases ` +
          `(sigma ${format.number(noise.sigma_pp)} pp, ${noise.sigma_df} degrees of freedom).`,
      set?.by_noise &&
        `On ${set.set}, noise alone makes about ${format.count(Math.round(set.by_noise))} utterances worse ` +
          `and as many better (${set.basis}).`,
    ].flatMap((line) => (line ? [line] : []));
  };

  /**
   * All about the runs at two places; `before` and `after` are their details, or null.
   * @param {Data} data
   * @param {number} a
   * @param {number} b
   * @param {Detail | null} before
   * @param {Detail | null} after
   */
  const pair = (data, a, b, before, after) => {
    const against = after?.heard?.against;
    const changed = wer.changedParameters(data, a, b);
    return {
      rows: rowsOf(data, a, b, before, after),
      sentence: against?.run === data.ids[a] ? against.sentence : null,
      noise: noiseLines(before, after),
      parameters: changed,
      doubts: doubts(data, a, b, before, after, changed),
      merges: a < b ? Array.from({ length: b - a }, (_, k) => a + 1 + k) : [],
    };
  };

  /** @param {unknown} text */
  const escape = (text) =>
    String(text)
      .replace(/\s+/g, " ")
      .replace(/[\\`*_{}[\]<>|#~]/g, "\\$&");
  /** @param {Percent} value */
  const cell = (value) => (value === null ? "" : `${format.number(value)} %`);

  /** @param {string} title @param {string[]} lines @param {number} most */
  const listed = (title, lines, most) =>
    lines.length
      ? [
          "",
          `**${title}**`,
          "",
          ...lines.slice(0, most).map((line) => `- ${line}`),
          ...(lines.length > most ? [`- and ${lines.length - most} more`] : []),
        ]
      : [];

  /** @param {Data} data @param {number} i */
  const about = (data, i) =>
    `${data.shas[i]} ${escape(wer.subject(data, i))}${data.authors?.[i] ? ` (${escape(data.authors[i])})` : ""}`;

  /** @param {WordError} error */
  const wordLine = ({ said, heard, before, count }) =>
    `${before} → ${count} times: ${said === null ? `“${escape(heard)}” heard, not said` : `“${escape(said)}” ${heard === null ? "not heard" : `heard as “${escape(heard)}”`}`}`;

  /**
   * The comparison as Markdown. `words` are the word errors that changed most.
   * @param {Data} data
   * @param {number} a
   * @param {number} b
   * @param {Pair} found
   * @param {WordError[]} words
   */
  const markdown = (data, a, b, found, words) =>
    [
      `### WER of ${data.shas[b].slice(0, 8)} against ${data.shas[a].slice(0, 8)}`,
      "",
      "| | before | after | change | |",
      "| --- | --- | --- | --- | --- |",
      ...found.rows.map(
        (row) =>
          `| ${escape(row.label)} | ${cell(row.before)} | ${cell(row.after)} | ${row.change === null ? "" : format.points(row.change)} | ${row.state} |`,
      ),
      "",
      `- before: ${about(data, a)}`,
      `- after: ${about(data, b)}`,
      ...[found.sentence, ...found.noise, ...found.doubts].filter(Boolean).map((line) => `- ${escape(line)}`),
      ...listed(
        "Parameters that differ",
        found.parameters.map(({ name, was, is }) => `${escape(name)}: ${escape(was)} → ${escape(is)}`),
        MERGES,
      ),
      ...listed(
        "Merges between",
        found.merges.map((i) => about(data, i)),
        MERGES,
      ),
      ...listed("Words that changed most", words.map(wordLine), MERGES),
    ].join("\n") + "\n";

  wer.pair = { of: pair, markdown };
})();
