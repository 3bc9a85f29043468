// What each value of each hyper-parameter did to the test WER. Pure.
(() => {
  "use strict";
  const { stats } = wer;
  const REACH = 15; // neighbours on either side that tell what the code of the time could do
  const ENOUGH = 30; // runs from which on the progress of the code can be taken out
  const MOST_VALUES = 16;

  /**
   * {places, wers, diverged, detrended}: runs with a test WER; `wers` as if each had run with today's code. Runs months
   * apart differ by their code: a run counts by its distance from the median of the runs around it, laid on the level of
   * the latest. `diverged`: as many errors as words; one such run would hide what a value does to the others.
   */
  const comparable = (data) => {
    const places = data.test.flatMap((value, i) => (value === null ? [] : [i]));
    const raw = places.map((i) => data.test[i]);
    const diverged = raw.map((value) => value >= 100);
    if (raw.length < ENOUGH) return { places, wers: raw, diverged, detrended: false };
    const level = stats.rollingMedian(raw, REACH);
    const today = stats.median(raw.slice(-REACH));
    return { places, wers: raw.map((value, k) => today + value - level[k]), diverged, detrended: true };
  };

  /** The codes relabelled by first appearance: equal texts mean that two parameters always change together. */
  const partition = (codes, places) => {
    const labels = new Map();
    return places.map((i) => labels.get(codes[i]) ?? (labels.set(codes[i], labels.size), labels.size - 1)).join();
  };

  /** A path of each run's own tells nothing. */
  const isOwn = (column, places) =>
    wer.isPath(column) && places.length > 1 && new Set(places.map((i) => column.codes[i])).size === places.length;

  const merged = (data, places) => {
    const groups = new Map();
    for (const column of data.parameters.filter((column) => !isOwn(column, places))) {
      const key = partition(column.codes, places);
      if (groups.has(key)) groups.get(key).push(column);
      else groups.set(key, [column]);
    }
    return [...groups.values()];
  };

  /** "not set" is undefined, which sort puts last unasked. */
  const order = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a) < String(b) ? -1 : 1;
  };

  /** Many numbers become ranges of about as many runs each. */
  const ranges = (values, byValue) => {
    const total = values.reduce((sum, value) => sum + byValue.get(value).length, 0);
    const bins = [];
    let seen = 0;
    for (const value of values) {
      const bin = Math.min(7, Math.floor((seen / total) * 8));
      (bins[bin] ||= []).push(value);
      seen += byValue.get(value).length;
    }
    return bins.filter(Boolean).map((inside) => ({
      label:
        inside.length === 1
          ? wer.format.value(inside[0])
          : `${wer.format.value(inside[0])}–${wer.format.value(inside[inside.length - 1])}`,
      value: inside.length === 1 ? inside[0] : null,
      wers: inside.flatMap((value) => byValue.get(value)),
    }));
  };

  /** Value -> its WERs; the diverged ones only where there are no others. */
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

  const grouped = (column, runs) => {
    const byValue = collect(column, runs);
    const values = [...byValue.keys()].sort(order);
    if (values.length <= MOST_VALUES)
      return values.map((value) => ({ label: wer.format.value(value), value, wers: byValue.get(value) }));
    return values.every((value) => typeof value === "number") ? ranges(values, byValue) : null;
  };

  const isNumeric = (column) => column.values.every((value) => typeof value === "number");

  const effect = (columns, runs) => {
    const groups = grouped(columns[0], runs);
    if (!groups) return { names: columns.map((column) => column.name), groups: null };
    const rows = groups.map(({ wers, ...group }) => ({ ...group, ...stats.interval(wers) }));
    const best = rows.reduce((a, b) => (b.mean < a.mean ? b : a));
    return { names: columns.map((column) => column.name), groups: rows, best, numeric: isNumeric(columns[0]) };
  };

  /**
   * {effects: [{names, groups: [{label, value, mean, half, count}], best}], constant: [[name, value]], tooMany: [name],
   * detrended, runs, diverged}
   * `names`: parameters that always changed together, so that nobody can tell them apart.
   */
  wer.effects = (data) => {
    const runs = comparable(data);
    const varied = [];
    const constant = [];
    for (const columns of runs.places.length ? merged(data, runs.places) : []) {
      const values = new Set(runs.places.map((i) => columns[0].codes[i]));
      if (values.size > 1)
        varied.push(
          effect(
            columns.sort((a, b) => isNumeric(b) - isNumeric(a)),
            runs,
          ),
        );
      else
        constant.push(
          ...columns.map((column) => [column.name, wer.format.value(column.values[column.codes[runs.places[0]]])]),
        );
    }
    return {
      effects: varied.filter(({ groups }) => groups),
      tooMany: varied.filter(({ groups }) => !groups).flatMap(({ names }) => names),
      constant: constant.sort(([a], [b]) => (a < b ? -1 : 1)),
      detrended: runs.detrended,
      runs: runs.places.length,
      diverged: runs.diverged.filter(Boolean).length,
    };
  };
})();
