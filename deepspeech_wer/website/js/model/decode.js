// js/index.js or js/hyper.js -> the columns that every view reads. The codings are those of dashboard/columns.py.
(() => {
  "use strict";

  /** @param {(number | null)[]} differences */
  const sums = (differences) => {
    let last = 0;
    return differences.map((difference) => (difference === null ? null : (last += difference)));
  };

  /** @param {any[]} runLengths @param {number} count */
  const expand = (runLengths, count) => {
    const out = new Array(count);
    let at = 0;
    for (let i = 0; i < runLengths.length; i += 2) {
      out.fill(runLengths[i], at, (at += runLengths[i + 1]));
    }
    return out;
  };

  /** @param {Percent[]} units */
  const percent = (units) => units.map((unit) => (unit === null ? null : unit / 1000));

  /** @param {number} seconds */
  const stamp = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "-");

  /**
   * An array whose elements are made when they are looked at, which most never are.
   * @template T
   * @param {number} count
   * @param {(i: number) => T} make
   * @returns {T[]}
   */
  const lazily = (count, make) =>
    new Proxy(new Array(count).fill(undefined), {
      get: (made, name) => {
        const i = typeof name === "string" ? Number(name) : NaN;
        return i >= 0 && i < count ? (made[i] ??= make(i)) : Reflect.get(made, name);
      },
    });

  /** @param {IndexJs} index @param {(number | null)[]} started @param {string[]} shas */
  const identify = (index, started, shas) => {
    const odd = new Map(index.ids);
    return lazily(started.length, (i) => odd.get(i) ?? `${stamp(started[i] ?? NaN)}-${shas[i]}`);
  };

  /** @param {string} text @param {number} count */
  const chop = (text, count) =>
    Array.from({ length: count }, (_, i) => text.slice(12 * i, 12 * i + 12).replace(/-+$/, ""));

  /**
   * What each run is compared with; nulls where the index does not say, and data.js finds it out.
   * @param {IndexJs} index
   * @param {number} count
   */
  const compared = (index, count) => {
    /** @param {any[]} distances */
    const places = (distances) => expand(distances, count).map((distance, i) => (distance ? i - distance : null));
    const { values, codes } = index.same_direction ?? { values: [], codes: [] };
    return {
      before: index.before ? places(index.before) : null,
      previous: index.same ? places(index.same) : null,
      sameDirections: index.same_direction ? expand(codes, count).map((code) => values[code]) : null,
    };
  };

  /**
   * The columns of js/index.js. Throws where the index is damaged.
   * @param {IndexJs} index
   */
  const fromIndex = (index) => {
    const { count, verdicts } = index;
    const shas = chop(index.shas, count);
    const started = sums(index.started);
    /** @param {Coded} column */
    const codes = (column) => expand(column.codes, count);
    const status = codes(index.status).map((code) => index.status.values[code]);
    return {
      project: index.project,
      count,
      shas,
      started,
      ids: identify(index, started, shas),
      ordinals: sums(expand(index.ordinals, count)).map(Number),
      committed: sums(index.committed),
      took: index.took,
      attempts: expand(index.attempts, count),
      status,
      details: new Map(index.details),
      test: percent(index.test_wer),
      validation: percent(index.last_validation_wer),
      train: percent(index.last_train_wer),
      words: expand(index.words, count),
      signatures: codes(index.signatures),
      parameters: index.parameters.map((column) => ({ ...column, codes: Int32Array.from(codes(column)) })),
      verdicts: verdicts ? codes(verdicts).map((code) => verdicts.values[code] ?? "") : null,
      ...compared(index, count),
      bands: index.bands ? expand(index.bands, count).map((band) => (band === null ? null : band / 100)) : null,
      headline: index.headline ?? null,
      noise: index.noise ?? null,
      marks: index.marks ?? [],
      events: index.events ?? [],
      reasons: null,
      evidence: null,
      subjects: null,
      authors: null,
      records: null,
      skipped: 0,
    };
  };

  // The contract says UTC, but a browser reads a time without a zone as local time.
  /** @param {unknown} text */
  const seconds = (text) => {
    if (typeof text !== "string") return null;
    const zoned = /(Z|[+-]\d\d:?\d\d)$/.test(text) ? text : `${text}Z`;
    const time = Date.parse(zoned.replace(" ", "T"));
    return Number.isNaN(time) ? null : Math.floor(time / 1000);
  };

  /** @param {unknown} value */
  const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

  /**
   * A WER in per cent. The page of 2016 wrote 0.0 for what it had not measured; the tracker writes null.
   * @param {unknown} value
   * @param {Record<string, any>} run
   */
  const wer01 = (value, run) => {
    if (typeof value !== "number" || value < 0 || !Number.isFinite(value)) return null;
    return value === 0 && !run.id ? null : value * 100;
  };

  /** @param {object} record @param {string} [prefix] @param {Map<string, any>} [out] */
  const flatten = (record, prefix = "", out = new Map()) => {
    for (const [name, value] of Object.entries(record)) {
      if (isObject(value)) flatten(value, `${prefix}${name}.`, out);
      else out.set(prefix + name, Array.isArray(value) ? JSON.stringify(value) : value);
    }
    return out;
  };

  /** @param {HyperRecord[]} records */
  const parameterColumns = (records) => {
    const flat = records.map((record) => flatten(isObject(record.parameters) ? (record.parameters ?? {}) : {}));
    const names = [...new Set(flat.flatMap((parameters) => [...parameters.keys()]))].sort().slice(0, 200);
    return names.map((name) => {
      const values = [
        ...new Set(flat.filter((parameters) => parameters.has(name)).map((parameters) => parameters.get(name))),
      ];
      const places = new Map(values.map((value, place) => [value, place]));
      const codes = flat.map((parameters) => (parameters.has(name) ? places.get(parameters.get(name)) : -1));
      return { name, values, codes: Int32Array.from(codes) };
    });
  };

  /** @param {any} record */
  const usable = (record) =>
    isObject(record) &&
    (isObject(record.run) ||
      (isObject(record.context) && isObject(record.results) && seconds(record.context.time_started) !== null));

  /** @param {HyperRecord[]} records */
  const inOrder = (records) => {
    /** @param {HyperRecord} record */
    const start = (record) => seconds(record.run?.started_at) ?? seconds(record.context?.time_started) ?? 0;
    const by = ["number", "ordinal"].find((name) => records.every((record) => record.run?.[name] > 0));
    return records.sort((a, b) => (by && a.run?.[by] - b.run?.[by]) || start(a) - start(b));
  };

  /** js/hyper.js has no verdicts, and what follows from them. */
  const UNJUDGED = {
    verdicts: null,
    before: null,
    previous: null,
    sameDirections: null,
    bands: null,
    headline: null,
    noise: null,
    marks: [],
    events: [],
    reasons: null,
    evidence: null,
  };

  /**
   * The same columns from js/hyper.js: records in the format of 2016. Those that the tracker wrote also have `run`.
   * @param {any[]} all
   * @param {any[]} failed
   * @param {Project} project
   */
  const fromRecords = (all, failed, project) => {
    // A re-training belongs to the run that it repeats, and is no point of the line.
    const own = [...all, ...failed].filter((record) => !record?.run?.rerun_of);
    const records = inOrder(own.filter(usable));
    /** @param {(run: Record<string, any>, context: Record<string, any>, results: Record<string, any>) => any} get */
    const of = (get) => records.map((record) => get(record.run || {}, record.context || {}, record.results || {}));
    /** @param {Record<string, any>} run @param {Record<string, any>} context */
    const sha = (run, context) => String(run.sha || context.git_hash || "");
    return {
      project,
      count: records.length,
      shas: of((run, context) => sha(run, context).slice(0, 12)),
      started: of((run, context) => seconds(run.started_at) ?? seconds(context.time_started)),
      ids: of((run, context) => String(run.id || context.time_started)),
      ordinals: records.map((record, i) => record.run?.ordinal ?? i + 1),
      committed: of((run, context) => seconds(run.committed_at) ?? seconds(context.time_started)),
      took: of((run, _, results) => {
        const [start, end] = [seconds(run.started_at), seconds(run.finished_at)];
        if (start !== null && end !== null) return end - start;
        return Number.isFinite(results.duration) ? results.duration : null;
      }),
      attempts: of((run) => run.attempt || 1),
      status: of((run) => String(run.failure || run.status || "done")),
      details: new Map(records.flatMap((record, i) => (record.run?.detail ? [[i, record.run.detail]] : []))),
      test: of((run, __, results) => wer01(results.test_wer, run)),
      validation: of((run, __, results) => wer01(results.last_validation_wer, run)),
      train: of((run, __, results) => wer01(results.last_train_wer, run)),
      words: of((_, __, results) => (Number.isInteger(results.test_errors?.words) ? results.test_errors.words : null)),
      signatures: of((_, __, results) => JSON.stringify(results.signature ?? null)),
      parameters: parameterColumns(records),
      ...UNJUDGED,
      subjects: of((run) => String(run.subject ?? "")),
      authors: of((run) => String(run.author ?? "")),
      records,
      skipped: own.length - records.length,
    };
  };

  wer.decode = { fromIndex, fromRecords, expand, flatten, seconds };
})();
