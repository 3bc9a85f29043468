// A chart of means with their 95 % confidence intervals: one place on the x axis per value of a parameter.
(() => {
  "use strict";
  const { svg, stats, format } = wer;

  /**
   * [low, high] that holds every mean, and intervals as far as they do not flatten the rest.
   * @type {Wer["plotRange"]}
   */
  const range = (groups) => {
    const means = groups.map(({ mean }) => mean);
    const most = Math.max((Math.max(...means) - Math.min(...means)) * 2, 1); // that of two runs can span many points
    /** @param {Group} group */
    const reach = ({ half }) => Math.min(half ?? 0, most);
    const low = Math.min(...groups.map((group) => group.mean - reach(group)));
    const high = Math.max(...groups.map((group) => group.mean + reach(group)));
    const pad = Math.max((high - low) * 0.12, 0.25);
    return [Math.max(0, low - pad), high + pad];
  };

  /** @param {string} text @param {number} length */
  const shortened = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

  /**
   * The interval. An end that is cut off has an arrow, no cap: what looks like an end must be one.
   * @param {number} x
   * @param {Group} group
   * @param {At} y
   * @param {Box} box
   */
  const bar = (x, group, y, { top, bottom }) => {
    if (group.half === null) return null;
    const [above, below] = [y(group.mean + group.half), y(group.mean - group.half)];
    const [high, low] = [Math.max(above, top), Math.min(below, bottom)];
    const upper = above < top ? `M${x - 4} ${high + 5}L${x} ${high}L${x + 4} ${high + 5}` : `M${x - 4} ${high}h8`;
    const lower = below > bottom ? `M${x - 4} ${low - 5}L${x} ${low}L${x + 4} ${low - 5}` : `M${x - 4} ${low}h8`;
    const cut = above < top || below > bottom;
    return svg("path", { class: `plot-bar ${cut ? "plot-cut" : ""}`, d: `M${x} ${high}V${low}${upper}${lower}` });
  };

  /** @param {Group} group */
  const describe = (group) =>
    `${group.label}: ${format.percent(group.mean)}` +
    (group.half === null ? "" : ` ± ${group.half.toFixed(2)}`) +
    `, ${format.plural(group.count, "run", "runs")}`;

  /** @param {Box} box @param {Scale} range @param {At} y @param {number} count */
  const grid = ({ left, right }, [low, high], y, count) =>
    stats
      .ticks(low, high, count)
      .map((tick) => [
        svg("path", { class: "plot-grid", d: `M${left} ${y(tick.at)}H${right}` }),
        svg("text", { class: "plot-text", x: left - 6, y: y(tick.at) + 4, "text-anchor": "end" }, `${tick.text} %`),
      ]);

  /**
   * Below each point its value, as far as there is room, and how many runs it stands for.
   * @param {Group[]} groups
   * @param {At} x
   * @param {number} step
   * @param {number} height
   */
  const labels = (groups, x, step, height) => {
    const letters = Math.max(3, Math.floor(step / 6.6));
    const every = Math.ceil(Math.max(...groups.map(({ label }) => Math.min(label.length, 9))) / letters);
    /** @param {number} k @param {number} y @param {string} words */
    const text = (k, y, words) => svg("text", { class: "plot-text", x: x(k), y, "text-anchor": "middle" }, words);
    const few = letters >= 4;
    return groups.map((group, k) => [
      k % every === 0 && text(k, height - 22, shortened(group.label, letters * every)),
      (few || k % every === 0) && text(k, height - 7, few ? `n ${format.count(group.count)}` : String(group.count)),
    ]);
  };

  /** @param {Group} group @param {number} k @param {At} x @param {At} y @param {Box} box */
  const point = (group, k, x, y, box) =>
    svg(
      "g",
      {},
      svg("title", {}, describe(group)),
      bar(x(k), group, y, box),
      svg("circle", { class: "plot-point", cx: x(k), cy: y(group.mean), r: 4 }),
    );

  /** plot({names, groups, numeric}, width, height, [low, high] of the y axis) */
  wer.plot = ({ names, groups, numeric }, width, height, scale = range(groups)) => {
    const box = { left: 48, right: width - 14, top: 10, bottom: height - 40 };
    const [low, high] = scale;
    /** @param {number} value */
    const y = (value) => box.bottom - ((value - low) / (high - low)) * (box.bottom - box.top);
    const step = (box.right - box.left) / groups.length;
    /** @param {number} k */
    const x = (k) => box.left + step * (k + 0.5);
    const path = groups.map((group, k) => `${k ? "L" : "M"}${x(k)} ${y(group.mean)}`).join("");
    return svg(
      "svg",
      {
        class: "plot",
        viewBox: `0 0 ${width} ${height}`,
        role: "img",
        "aria-label": `Test WER by ${shortened(names.join(", "), 80)}. ${groups.map(describe).join("; ")}`,
      },
      grid(box, scale, y, height > 250 ? 6 : 5),
      labels(groups, x, step, height),
      numeric && svg("path", { class: "plot-line", d: path }),
      groups.map((group, k) => point(group, k, x, y, box)),
    );
  };

  wer.plotRange = range;
})();
