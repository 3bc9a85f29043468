// Statistics of columns, in which null means "not measured".
(() => {
  "use strict";
  const LATEST = 5; // runs

  /** @param {ArrayLike<number>} sorted @param {number} q */
  const quantile = (sorted, q) => {
    const at = (sorted.length - 1) * q;
    const low = Math.floor(at);
    return sorted[low] + (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]) * (at - low);
  };
  /** @param {number[]} values */
  const ascending = (values) => Float64Array.from(values).sort();
  /** @param {number[]} values */
  const median = (values) => (values.length ? quantile(ascending(values), 0.5) : null);

  /** @param {ArrayLike<number>} sorted @param {number} value */
  const place = (sorted, value) => {
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle] < value) low = middle + 1;
      else high = middle;
    }
    return low;
  };

  /**
   * The median of a window of `2 * reach + 1` places around each place. It is null where the whole window is.
   * @param {Percent[]} values
   * @param {number} reach
   */
  const rollingMedian = (values, reach) => {
    /** @type {number[]} */
    const sorted = [];
    const out = new Array(values.length);
    /** @param {Percent | undefined} value */
    const enter = (value) => value !== null && value !== undefined && sorted.splice(place(sorted, value), 0, value);
    /** @param {Percent | undefined} value */
    const leave = (value) => value !== null && value !== undefined && sorted.splice(place(sorted, value), 1);
    for (let i = 0; i < Math.min(reach, values.length); i++) enter(values[i]);
    for (let i = 0; i < values.length; i++) {
      enter(values[i + reach]);
      leave(values[i - reach - 1]);
      out[i] = sorted.length ? quantile(sorted, 0.5) : null;
    }
    return out;
  };

  /** Student's t for a two-sided 95 % interval, by degrees of freedom. Beyond the table: a fit within 0.004. */
  const T = [12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131];
  /** @param {number} freedom */
  const student = (freedom) => T[freedom - 1] || 1.96 + 2.5 / freedom;

  /**
   * {mean, half, count}. `half` is half the width of the 95 % confidence interval, or null for a single value.
   * @param {number[]} values
   */
  const interval = (values) => {
    const count = values.length;
    const mean = values.reduce((sum, value) => sum + value, 0) / count;
    if (count < 2) return { mean, half: null, count };
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (count - 1);
    return { mean, half: student(count - 1) * Math.sqrt(variance / count), count };
  };

  /** @param {number[]} values */
  const inner = (values) => {
    const sorted = ascending(values);
    if (sorted.length < 5) return [sorted[0], sorted[sorted.length - 1]];
    const [q1, q3] = [quantile(sorted, 0.25), quantile(sorted, 0.75)];
    const reach = 3 * Math.max(q3 - q1, 1);
    return [Math.max(q1 - reach, sorted[0]), Math.min(q3 + reach, sorted[sorted.length - 1])];
  };

  /**
   * [low, high] for the y axis: outliers are left out, so that one diverged run does not flatten all the others.
   * @type {Wer["stats"]["robustRange"]}
   */
  const robustRange = (columns, from, to) => {
    let [low, high] = [Infinity, -Infinity];
    for (const column of columns) {
      const values = column.slice(from, to + 1).filter((value) => value !== null);
      if (!values.length) continue;
      const [bottom, top] = inner(values);
      const latest = median(values.slice(-LATEST)) ?? bottom; // a new level is news, however rare it still is
      low = Math.min(low, bottom, latest);
      high = Math.max(high, top, latest);
    }
    if (low > high) return [0, 100];
    const pad = Math.max((high - low) * 0.08, 0.5);
    return [Math.max(0, low - pad), high + pad];
  };

  /**
   * About `count` round numbers between low and high: [{at, text}].
   * @param {number} low
   * @param {number} high
   * @param {number} count
   */
  const ticks = (low, high, count) => {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = ([1, 2, 2.5, 5].find((factor) => factor * power >= rough) ?? 10) * power;
    const digits = [0, 1, 2, 3].find((places) => Number.isInteger(+(step * 10 ** places).toPrecision(9))) ?? 4;
    const out = [];
    for (let n = Math.ceil(low / step); n * step <= high; n++)
      out.push({ at: n * step, text: (n * step).toFixed(digits) });
    return out;
  };

  wer.stats = { median, rollingMedian, interval, robustRange, ticks };
})();
