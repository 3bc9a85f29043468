// The effect of each hyper-parameter on the test WER.
(() => {
  "use strict";
  const { stats } = wer;
  const REACH = 15; // runs on either side whose median is the level of the code at that time
  const ENOUGH = 30; // with fewer runs, the progress of the code cannot be estimated
  const MOST_VALUES = 16;
  const MOST_TIED = 3; // parameters whose values stand at a point

  /**
   * The measured runs: {places, wers, diverged, detrended}.
   *
   * Runs that lie months apart differ by their code too. `wers` removes that trend: each is the run's distance from the
   * rolling median, added to the median of the latest runs. A run has diverged when it has at least as many errors as
   * words. Left in, one diverged run would dominate the mean of its value.
   * @param {Data} data
   */
  const comparable = (data) => {
    const places = data.test.flatMap((value, i) => (value === null ? [] : [i]));
    const raw = places.map((i) => data.test[i] ?? NaN); // each is measured
    const diverged = raw.map((value) => value >= 100);
    if (raw.length < ENOUGH) return { places, wers: raw, diverged, detrended: false };
    const level = stats.rollingMedian(raw, REACH);
    const today = stats.median(raw.slice(-REACH)) ?? NaN;
    return { places, wers: raw.map((value, k) => today + value - (level[k] ?? NaN)), diverged, detrended: true };
  };

  /**
   * Codes renumbered by first appearance, as text. Two parameters with the same text always change together.
   * @param {Int32Array} codes
   * @param {number[]} places
   */
  const partition = (codes, places) => {
    const labels = new Map();
    return places.map((i) => labels.get(codes[i]) ?? (labels.set(codes[i], labels.size), labels.size - 1)).join();
  };

  /**
   * A path that differs in every run, such as a checkpoint directory, explains nothing.
   * @param {Column} column
   * @param {number[]} places
   */
  const isOwn = (column, places) =>
    wer.isPath(column) && places.length > 1 && new Set(places.map((i) => column.codes[i])).size === places.length;

  /** @param {Data} data @param {number[]} places @returns {Column[][]} */
  const merged = (data, places) => {
    const groups = new Map();
    for (const column of data.parameters.filter((one) => !isOwn(one, places))) {
      const key = partition(column.codes, places);
      if (groups.has(key)) groups.get(key).push(column);
      else groups.set(key, [column]);
    }
    return [...groups.values()];
  };

  /**
   * `undefined` means "not set". Array.sort puts it last and never passes it to this function.
   * @param {Value} a
   * @param {Value} b
   */
  const order = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a) < String(b) ? -1 : 1;
  };

  /**
   * Up to eight ranges of numbers, each with about the same number of runs.
   * @param {number[]} values
   * @param {Map<Value, number[]>} byValue
   */
  const ranges = (values, byValue) => {
    /** @param {number} value */
    const of = (value) => byValue.get(value) ?? [];
    const total = values.reduce((sum, value) => sum + of(value).length, 0);
    /** @type {number[][]} */
    const bins = [];
    let seen = 0;
    for (const value of values) {
      const bin = Math.min(7, Math.floor((seen / total) * 8));
      (bins[bin] ||= []).push(value);
      seen += of(value).length;
    }
    return bins.filter(Boolean).map((inside) => ({
      label:
        inside.length === 1
          ? wer.format.value(inside[0])
          : `${wer.format.value(inside[0])}–${wer.format.value(inside[inside.length - 1])}`,
      value: inside.length === 1 ? inside[0] : null,
      wers: inside.flatMap(of),
    }));
  };

  /**
   * Value -> its WERs. A value keeps its diverged runs only if it has no others.
   * @param {Column} column
   * @param {Comparable} runs
   */
  const collect = (column, { places, wers, diverged }) => {
    const kept = new Map();
    const rest = new Map();
    places.forEach((i, k) => {
      const value = column.values[column.codes[i]];
      const side = diverged[k] ? rest : kept;
      if (side.has(value)) side.get(value).push(wers[k]);
      else side.set(value, [wers[k]]);
    });
    return new Map([...rest, ...kept]);
  };

  /** @param {Column} column @param {Comparable} runs */
  const grouped = (column, runs) => {
    const byValue = collect(column, runs);
    const values = [...byValue.keys()].sort(order);
    if (values.length <= MOST_VALUES)
      return values.map((value) => ({ label: wer.format.value(value), value, wers: byValue.get(value) }));
    return values.every((value) => typeof value === "number") ? ranges(values, byValue) : null;
  };

  /** @param {Column} column */
  const isNumeric = (column) => column.values.every((value) => typeof value === "number");

  /**
   * The group whose whole interval lies below all others, or null: where intervals overlap, nothing is the lowest.
   * @param {Group[]} groups
   */
  const lowest = (groups) => {
    const best = groups.reduce((a, b) => (b.mean < a.mean ? b : a));
    /** @param {Group} other */
    const isBelow = (other) => best.half !== null && best.mean + best.half < other.mean - (other.half ?? Infinity);
    return groups.every((group) => group === best || isBelow(group)) ? best : null;
  };

  /**
   * The values of the other parameters that a group's runs had, in the order of `columns`; null: not one of each.
   * @param {Column[]} columns
   * @param {{ value: Value }} group
   * @param {Comparable} runs
   */
  const tied = (columns, group, runs) => {
    if (group.value === null) return columns.map(() => null);
    const at = runs.places.find((i) => columns[0].values[columns[0].codes[i]] === group.value);
    return columns.map((column) => (at === undefined ? null : wer.format.value(column.values[column.codes[at]])));
  };

  /**
   * Null for texts too many to chart.
   * @param {Column[]} columns
   * @param {Comparable} runs
   * @returns {Effect | null}
   */
  const effect = (columns, runs) => {
    const names = columns.map((column) => column.name);
    const groups = grouped(columns[0], runs);
    if (!groups) return null;
    const rows = groups.map(({ wers, ...group }) => {
      const labels = tied(columns, group, runs);
      const shown = labels.length > MOST_TIED ? [...labels.slice(0, MOST_TIED), "…"] : labels;
      const label = labels.includes(null) ? group.label : shown.join(" & ");
      return { ...group, label, labels, ...stats.interval(wers) };
    });
    return { names, groups: rows, best: lowest(rows), numeric: isNumeric(columns[0]) };
  };

  /**
   * {effects: [{names, groups: [{label, labels, value, mean, half, count}], best, numeric}], constant: [[name, value]],
   * tooMany: [name], detrended, runs, diverged}
   *
   * Parameters that always changed together cannot be told apart: they share one effect. `names` lists them all, and
   * `labels` what each of them was.
   */
  wer.effects = (data) => {
    const runs = comparable(data);
    /** @type {Effect[]} */
    const varied = [];
    /** @type {string[]} */
    const tooMany = [];
    /** @type {[string, string][]} */
    const constant = [];
    for (const columns of runs.places.length ? merged(data, runs.places) : []) {
      const values = new Set(runs.places.map((i) => columns[0].codes[i]));
      if (values.size > 1) {
        columns.sort((a, b) => Number(isNumeric(b)) - Number(isNumeric(a)));
        const found = effect(columns, runs);
        if (found) varied.push(found);
        else tooMany.push(...columns.map(({ name }) => name));
      } else
        for (const { name, values: all, codes } of columns)
          constant.push([name, wer.format.value(all[codes[runs.places[0]]])]);
    }
    return {
      effects: varied,
      tooMany,
      constant: constant.sort(([a], [b]) => (a < b ? -1 : 1)),
      detrended: runs.detrended,
      runs: runs.places.length,
      diverged: runs.diverged.filter(Boolean).length,
    };
  };
})();
