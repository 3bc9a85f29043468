// Loads the utterances of runs on demand: runs/<id>/edits.js, and of their test set sets/<name>.js and its texts.
(() => {
  "use strict";
  const VERSION = 1; // of these files; verdicts/recorded.py writes the same
  const COLUMNS = ["ids", "names", "speakers", "words", "parts"];
  const given = new Map(); // address -> what the script handed over; null: it could not be read

  /** @param {string} name */
  const setAddress = (name) => `sets/${wer.encode(name)}.js`;
  /** @param {string} name @param {number} part */
  const partAddress = (name, part) => `sets/${wer.encode(name)}/${part}.js`;
  /** @param {string} run */
  const editsAddress = (run) => `runs/${wer.encode(run)}/edits.js`;

  // The scripts call these.
  wer.said = (record) => given.set(setAddress(record.set), record);
  wer.texts = (record) => given.set(partAddress(record.set, record.part), record);
  wer.edits = (record) => given.set(editsAddress(record.run), record);

  /**
   * Calls `done` once all scripts are there, or are known not to be.
   * @param {string[]} addresses
   * @param {() => void} done
   */
  const loadAll = (addresses, done) => {
    const lacking = addresses.filter((address) => !given.has(address));
    let waiting = lacking.length;
    if (!waiting) return done();
    /** @param {string} address */
    const arrived = (address) => {
      if (!given.has(address)) given.set(address, null);
      if (--waiting === 0) done();
    };
    return lacking.forEach((address) =>
      wer.loadScript(
        address,
        () => arrived(address),
        () => arrived(address),
      ),
    );
  };

  /** @param {Record<string, any>} record @param {...string} names */
  const lists = (record, ...names) => names.every((name) => Array.isArray(record[name]));
  /** @param {any} record @param {...string} names */
  const usable = (record, ...names) => (record?.version === VERSION && lists(record, ...names) ? record : null);

  /**
   * Calls `done` with the test sets of a run, [{name, said, edits, missing}], or with null where they cannot be read.
   */
  wer.loadHeard = (run, done) =>
    loadAll([editsAddress(run)], () => {
      const record = usable(given.get(editsAddress(run)), "sets");
      if (!record) return done(null);
      return loadAll(
        record.sets.map((/** @type {{ set: string }} */ { set }) => setAddress(set)),
        () => {
          const sets = record.sets.map((/** @type {{ set: string }} */ one) => ({ ...one, said: usable(given.get(setAddress(one.set)), ...COLUMNS) }));
          /** @param {Record<string, any>} one */
          const isSound = (one) =>
            one.said && lists(one, "edits", "missing") && one.said.ids.length === one.edits.length;
          done(sets.every(isSound) ? sets : null);
        },
      );
    });

  /** @param {Said} said @param {number} place */
  const partOf = (said, place) => {
    let part = said.parts.length - 1;
    while (part > 0 && said.parts[part] > place) part--;
    return part;
  };

  /** Calls `done` with the references at some places of a test set, null where one cannot be read. */
  wer.loadTexts = (said, places, done) => {
    const addresses = places.map((place) => partAddress(said.set, partOf(said, place)));
    loadAll([...new Set(addresses)], () =>
      done(places.map((place, k) => given.get(addresses[k])?.texts?.[place - said.parts[partOf(said, place)]] ?? null)),
    );
  };
})();
