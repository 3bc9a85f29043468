// The utterances of a run, alone or beside another's: sums, differences and orders of what Python counted.
(() => {
  "use strict";
  const { aligned } = wer;
  const LENGTHS = [5, 10, 20, 40]; // words

  /**
   * The places of the utterances that two runs share: [before, after]. `of` are two test sets, or the same twice.
   * @param {Said} before
   * @param {Said} after
   */
  const shared = (before, after) => {
    if (before.test_set === after.test_set) return after.ids.map((_, place) => [place, place]);
    const places = new Map(before.ids.map((id, place) => [id, place]));
    return after.ids.flatMap((id, place) => {
      const other = places.get(id);
      return other !== undefined && before.words[other] === after.words[place] ? [[other, place]] : [];
    });
  };

  /**
   * The utterances: [{place, before, errors, words}], in the order of the ids. `before` is null without another run.
   *
   * A run is {said, edits}: its test set and the errors of each utterance.
   * @param {HeardSet} run
   * @param {HeardSet | null} against
   */
  const utterances = (run, against) => {
    /** @param {number} place @param {number | null} other */
    const one = (place, other) => ({
      place,
      other,
      errors: aligned.count(run.edits[place]),
      before: against && other !== null ? aligned.count(against.edits[other]) : null,
      words: run.said.words[place],
    });
    if (!against) return run.edits.map((_, place) => one(place, null));
    return shared(against.said, run.said).map(([other, place]) => one(place, other));
  };

  /** @param {(row: Utterance) => number} get @returns {(a: Utterance, b: Utterance) => number} */
  const most = (get) => (a, b) => get(b) - get(a) || a.place - b.place;
  /** @param {Utterance} row */
  const change = ({ errors, before }) => errors - (before ?? 0);

  /** @type {Record<string, (rows: Utterance[]) => Utterance[]>} */
  const LISTS = {
    wrong: (rows) => rows.filter(({ errors }) => errors > 0).sort(most(({ errors }) => errors)),
    worse: (rows) => rows.filter((row) => change(row) > 0).sort(most(change)),
    better: (rows) => rows.filter((row) => change(row) < 0).sort(most((row) => -change(row))),
  };

  /**
   * The utterances of a list: wrong, worse or better, the largest first.
   * @param {Utterance[]} rows
   * @param {string} name
   */
  const list = (rows, name) => LISTS[name](rows);

  /**
   * How long the lists are.
   * @param {Utterance[]} rows
   */
  const counts = (rows) => {
    const found = { wrong: 0, worse: 0, better: 0 };
    for (const row of rows) {
      if (row.errors > 0) found.wrong++;
      if (change(row) > 0) found.worse++;
      if (change(row) < 0) found.better++;
    }
    return found;
  };

  /** @param {Utterance[]} rows @param {(row: Utterance) => any} keyOf */
  const sums = (rows, keyOf) => {
    const found = new Map();
    for (const row of rows) {
      const key = keyOf(row);
      const sum = found.get(key) ?? { key, utterances: 0, words: 0, errors: 0, before: row.before === null ? null : 0 };
      sum.utterances++;
      sum.words += row.words;
      sum.errors += row.errors;
      if (row.before !== null) sum.before += row.before;
      found.set(key, sum);
    }
    return [...found.values()];
  };

  /**
   * Errors by speaker, the most errors first; none where no speaker is known.
   * @param {Utterance[]} rows
   * @param {Said} said
   */
  const bySpeaker = (rows, said) => {
    const found = sums(rows, ({ place }) => said.names[said.speakers[place]] ?? null);
    return found.length === 1 && found[0].key === null ? [] : found.sort((a, b) => b.errors - a.errors);
  };

  /**
   * Errors by the number of words said.
   * @param {Utterance[]} rows
   */
  const byLength = (rows) => {
    /** @param {Utterance} row */
    const bound = ({ words }) => LENGTHS.find((length) => words <= length) ?? Infinity;
    return sums(rows, bound).sort((a, b) => a.key - b.key);
  };

  /** @param {number} bound */
  const lengthName = (bound) => {
    if (bound === Infinity) return `over ${LENGTHS[LENGTHS.length - 1]}`;
    return `${(LENGTHS[LENGTHS.indexOf(bound) - 1] ?? -1) + 1} to ${bound}`;
  };

  /** @param {string[]} edits */
  const counted = (edits) => {
    const found = new Map();
    for (const text of edits)
      for (const { said, heard } of aligned.decode(text)) {
        const key = `${said ?? ""} ${heard ?? ""}`; // no word contains a space
        found.set(key, (found.get(key) ?? 0) + 1);
      }
    return found;
  };

  /** @param {string} key */
  const kindOf = (key) => (key.startsWith(" ") ? "insertions" : key.endsWith(" ") ? "deletions" : "substitutions");

  /**
   * The word errors by kind: {substitutions, deletions, insertions}, each [{said, heard, count, before}].
   * Without another run the most frequent come first, with one those that changed most.
   * @param {Utterance[]} rows
   * @param {HeardSet} run
   * @param {HeardSet | null} against
   */
  const words = (rows, run, against) => {
    const now = counted(rows.map(({ place }) => run.edits[place]));
    const was = against ? counted(rows.flatMap(({ other }) => (other === null ? [] : [against.edits[other]]))) : null;
    /** @type {Record<string, WordError[]>} */
    const out = { substitutions: [], deletions: [], insertions: [] };
    for (const key of new Set([...now.keys(), ...(was ?? new Map()).keys()])) {
      const [said, heard] = key.split(" ");
      const before = was ? (was.get(key) ?? 0) : null;
      out[kindOf(key)].push({ said: said || null, heard: heard || null, count: now.get(key) ?? 0, before });
    }
    /** @param {WordError} one */
    const size = (one) => (was ? Math.abs(one.count - (one.before ?? 0)) : 0);
    for (const found of Object.values(out)) found.sort((a, b) => size(b) - size(a) || b.count - a.count);
    return out;
  };

  /** The addresses of the views of utterances and of pairs; `against` is another run or null. */
  wer.utterancesHref = (id, against) =>
    `#/utterances/${wer.encode(id)}${against ? `/against/${wer.encode(against)}` : ""}`;
  wer.compareHref = (before, after) => `#/compare/${wer.encode(before)}/${wer.encode(after)}`;

  /**
   * The address of a recording, or null where none are published. `base` is an address in which {id} stands for the id
   * of the utterance, or one to which it is added.
   */
  wer.audioUrl = (base, id) => {
    const parts = id.split("/");
    if (!base || parts.some((part) => part === "" || part === "." || part === "..")) return null;
    const path = parts.map(wer.encode).join("/");
    return base.includes("{id}") ? base.replaceAll("{id}", () => path) : base.replace(/\/?$/, "/") + path;
  };

  wer.heard = { utterances, list, counts, bySpeaker, byLength, lengthName, words };
})();
