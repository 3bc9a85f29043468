// The x of every run on the chart. uPlot needs ascending values without repeats.
(() => {
  "use strict";
  const { format } = wer;

  /** @param {Data} data @returns {Axis} */
  const byMerge = (data) => ({
    xs: data.started.map((_, i) => i),
    low: -0.5,
    high: data.count - 0.5,
    least: 3,
    describe: (x) => {
      const i = Math.min(Math.max(Math.round(x), 0), data.count - 1);
      return `№ ${data.ordinals[i]}, ${format.date(data.started[i])}`;
    },
  });

  /**
   * By the date of the merge. Clocks may be wrong, so the order of history wins: each x is at least a second after the
   * one before. A date after the start of the training is replaced by that start. Otherwise a single date in the future
   * would push all later merges there.
   * @param {Data} data
   */
  const byDate = (data) => {
    let last = -Infinity;
    /** @param {number} i */
    const date = (i) => Math.min(data.committed[i] ?? Infinity, data.started[i] ?? Infinity);
    const xs = data.started.map((_, i) => (last = Math.max(Number.isFinite(date(i)) ? date(i) : last, last + 1, 0)));
    const span = xs[xs.length - 1] - xs[0];
    const pad = span * 0.01 || 3600;
    const describe = span < 3 * 86_400 ? format.minute : format.date;
    return { xs, low: xs[0] - pad, high: xs[xs.length - 1] + pad, least: Math.min(7200, span / 4 || 7200), describe };
  };

  wer.axis = (data, kind) => (kind === "date" ? byDate(data) : byMerge(data));
})();
