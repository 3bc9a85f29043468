// A miniature of the test WER around one run, as SVG.
(() => {
  "use strict";
  const { svg, stats } = wer;
  const AROUND = 25; // runs on either side

  /** @param {Data} data @param {number} from @param {number} to @param {number} width @param {number} height */
  const scale = (data, from, to, width, height) => {
    const [low, high] = stats.robustRange([data.test], from, to);
    return {
      x: (/** @type {number} */ i) => 4 + ((i - from) / Math.max(to - from, 1)) * (width - 8),
      y: (/** @type {number} */ value) => height - 4 - ((Math.min(Math.max(value, low), high) - low) / (high - low)) * (height - 8),
    };
  };

  /** @param {Data} data @param {number} from @param {number} to @param {{ x: At, y: At }} place */
  const points = (data, from, to, { x, y }) => {
    const parts = [];
    for (let i = from; i <= to; i++) {
      const value = data.test[i];
      if (value !== null) parts.push([x(i), y(value)]);
    }
    return parts;
  };

  /** spark(data, at, label, width, height): the run at `at` and those around it; a line marks it. */
  wer.spark = (data, at, label, width = 260, height = 72) => {
    const [from, to] = [Math.max(0, at - AROUND), Math.min(data.count - 1, at + AROUND)];
    const place = scale(data, from, to, width, height);
    const shown = points(data, from, to, place);
    return svg(
      "svg",
      { class: "spark", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label },
      svg("path", { class: "spark-here", d: `M${place.x(at) - 2} 0V${height}` }),
      svg("path", { class: "plot-line", d: shown.map(([x, y], k) => `${k ? "L" : "M"}${x} ${y}`).join("") }),
      shown.map(([x, y]) => svg("circle", { class: "spark-point", cx: x, cy: y, r: 1.6 })),
    );
  };
})();
