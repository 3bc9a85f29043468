// A chart of a few curves over the same x, as SVG: learning curves and the load of GPUs.
(() => {
  "use strict";
  const { el, svg, stats } = wer;
  const FEW = 40; // values
  const STYLES = 4; // curve-0 to curve-3 in page.css: colour and dash

  /** @param {Percents} values */
  const known = (values) => values.flatMap((value) => (value === null || value === undefined ? [] : [value]));

  const WIDE = 600; // pixels of the page; below, a chart is drawn for a phone, lest its text be tiny

  /** @param {Curve[]} series @param {number | undefined} least */
  const range = (series, least) => {
    const all = series.flatMap(({ ys }) => known(ys));
    const [low, high] = [Math.min(...all), Math.max(...all)];
    const pad = Math.max((high - low) * 0.06, Math.abs(high) * 1e-6, 1e-9);
    return [least === undefined ? low - pad : Math.min(least, low), high + pad];
  };

  /**
   * The path of a curve; it is interrupted where a value is missing.
   * @param {number[]} xs
   * @param {Percents} ys
   * @param {At} x
   * @param {At} y
   */
  const path = (xs, ys, x, y) => {
    let pen = "M";
    let out = "";
    xs.forEach((at, k) => {
      if (ys[k] === null || ys[k] === undefined) pen = "M";
      else {
        out += `${pen}${x(at).toFixed(1)} ${y(ys[k]).toFixed(1)}`;
        pen = "L";
      }
    });
    return out;
  };

  /**
   * A dot at each value where there are few, and at those without neighbours, of which a line shows nothing.
   * @param {number[]} xs
   * @param {Percents} ys
   * @param {At} x
   * @param {At} y
   * @param {number} k
   */
  const dots = (xs, ys, x, y, k) => {
    /** @param {number} n */
    const isKnown = (n) => ys[n] !== null && ys[n] !== undefined;
    const lone = (/** @type {number} */ n) => !isKnown(n - 1) && !isKnown(n + 1);
    const isShown = known(ys).length > FEW ? lone : () => true;
    return xs.map(
      (at, n) =>
        isKnown(n) && isShown(n) && svg("circle", { class: `curve-dot curve-${k % STYLES}`, cx: x(at), cy: y(ys[n] ?? NaN), r: 2 }),
    );
  };

  /** @param {Box} box @param {Scale} range @param {At} y @param {string} unit */
  const grid = ({ left, right, top }, [low, high], y, unit) =>
    stats.ticks(low, high, 4).map((tick) => [
      svg("path", { class: "plot-grid", d: `M${left} ${y(tick.at)}H${right}` }),
      svg("text", { class: "plot-text", x: left - 6, y: Math.max(y(tick.at) + 4, top), "text-anchor": "end" }, tick.text + unit),
    ]);

  /** @param {number[]} xs @param {At} x @param {number} y @param {(x: number) => string} describe */
  const below = (xs, x, y, describe) => {
    const ends = [xs[0], xs[xs.length - 1]];
    return ends.map((at, k) =>
      svg("text", { class: "plot-text", x: x(at), y, "text-anchor": k ? "end" : "start" }, describe(at)),
    );
  };

  /** @param {Curve[]} series */
  const legend = (series) =>
    el(
      "p",
      { class: "curve-legend" },
      series.map(({ label }, k) => [
        svg(
          "svg",
          { width: 22, height: 8, "aria-hidden": "true" },
          svg("path", { class: `curve curve-${k % STYLES}`, d: "M1 4h20" }),
        ),
        el("span", {}, label),
      ]),
    );

  /** @param {string} title @param {Curve[]} series @param {string} unit */
  const said = (title, series, unit) => {
    const parts = series.map(({ label, ys }) => {
      const values = known(ys);
      const [first, last] = [values[0], values[values.length - 1]].map(wer.format.rounded);
      return `${label} from ${first}${unit} to ${last}${unit}`;
    });
    return `${title}: ${parts.join("; ")}`;
  };

  /**
   * curves(title, {xs, series: [{label, ys}], unit, least, describe(x)}) -> a figure, or null where no series has a
   * value. Missing values are null; a series may end before the others; `least` is a y that is always shown.
   */
  wer.curves = (title, { xs, series, unit = "", least, describe = String }) => {
    const drawn = series.filter(({ ys }) => known(ys).length);
    if (!drawn.length) return null;
    const [width, height] = document.documentElement.clientWidth < WIDE ? [340, 180] : [560, 200];
    const box = { left: 56, right: width - 8, top: 10, bottom: height - 24 };
    const [low, high] = range(drawn, least);
    /** @param {number} value */
    const y = (value) => box.bottom - ((value - low) / (high - low)) * (box.bottom - box.top);
    const [start, end] = [xs[0], xs[xs.length - 1]];
    /** @param {number} at */
    const x = (at) => box.left + ((at - start) / (end - start || 1)) * (box.right - box.left);
    const chart = svg(
      "svg",
      { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": said(title, drawn, unit) },
      grid(box, [low, high], y, unit),
      below(xs, x, height - 6, describe),
      drawn.map(({ ys }, k) => [
        svg("path", { class: `curve curve-${k % STYLES}`, d: path(xs, ys, x, y) }),
        dots(xs, ys, x, y, k),
      ]),
    );
    return el("figure", { class: "curves" }, el("figcaption", {}, title), chart, drawn.length > 1 && legend(drawn));
  };
})();
