// The word errors of an utterance, as verdicts/edits.py writes them: "3 can kahn 7 the  0  um", three fields an error.
(() => {
  "use strict";
  /**
   * The number of errors in such a text.
   * @param {string} text
   */
  const count = (text) => {
    if (!text) return 0;
    let spaces = 0;
    for (let at = text.indexOf(" "); at >= 0; at = text.indexOf(" ", at + 1)) spaces++;
    return Math.floor((spaces + 1) / 3);
  };

  /**
   * The errors: place in the reference, word said, word heard; null is a gap.
   * @param {string} text
   */
  const decode = (text) => {
    const fields = text ? text.split(" ") : [];
    const out = [];
    for (let i = 0; i + 2 < fields.length; i += 3)
      out.push({ place: Number(fields[i]), said: fields[i + 1] || null, heard: fields[i + 2] || null });
    return out;
  };

  /** @param {string} text */
  const byPlace = (text) => {
    const found = { inserted: new Map(), heard: new Map() };
    for (const { place, said, heard } of decode(text)) {
      if (said !== null) found.heard.set(place, heard);
      else if (found.inserted.has(place)) found.inserted.get(place).push(heard);
      else found.inserted.set(place, [heard]);
    }
    return found;
  };

  /**
   * Several runs' alignments with one reference, word below word: columns {said, heard: [one for each run]}.
   *
   * `said` is null where a run heard a word that was not said; `heard` is null where a word was not heard, and undefined
   * where a run has nothing in that column.
   * @param {string} reference
   * @param {string[]} texts
   */
  const columns = (reference, texts) => {
    const words = reference ? reference.split(" ") : [];
    const runs = texts.map(byPlace);
    const out = [];
    for (let place = 0; place <= words.length; place++) {
      const inserted = runs.map((run) => run.inserted.get(place) ?? []);
      const most = Math.max(0, ...inserted.map((list) => list.length));
      for (let k = 0; k < most; k++) out.push({ said: null, heard: inserted.map((list) => list[k]) });
      if (place === words.length) break;
      const heard = runs.map((run) => (run.heard.has(place) ? run.heard.get(place) : words[place]));
      out.push({ said: words[place], heard });
    }
    return out;
  };

  /**
   * What a cell of such a column is: "right", "other", "lost", "added" or "none".
   * @param {string | null} said
   * @param {string | null | undefined} heard
   */
  const kind = (said, heard) => {
    if (heard === undefined) return "none";
    if (heard === null) return "lost";
    if (said === null) return "added";
    return said === heard ? "right" : "other";
  };

  wer.aligned = { count, decode, columns, kind };
})();
