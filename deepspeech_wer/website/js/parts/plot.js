// A chart of means with their 95 % confidence intervals: one place on the x axis per value of a parameter.
(() => {
  "use strict";
  const { svg, stats, format } = wer;

  const range = (groups) => {
    const spread = Math.max(...groups.map(({ mean }) => mean)) - Math.min(...groups.map(({ mean }) => mean));
    const most = Math.max(spread * 2, 1); // the interval of two runs can span many points and would flatten the rest
    const reach = ({ half }) => Math.min(half ?? 0, most);
    const low = Math.min(...groups.map((group) => group.mean - reach(group)));
    const high = Math.max(...groups.map((group) => group.mean + reach(group)));
    const pad = Math.max((high - low) * 0.12, 0.25);
    return [Math.max(0, low - pad), high + pad];
  };

  const shortened = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

  const bar = (x, group, y, { top, bottom }) => {
    if (group.half === null) return null;
    const [high, low] = [Math.max(y(group.mean + group.half), top), Math.min(y(group.mean - group.half), bottom)];
    return svg("path", { class: "plot-bar", d: `M${x} ${high}V${low}M${x - 4} ${high}h8M${x - 4} ${low}h8` });
  };

  const describe = (group) =>
    `${group.label}: ${format.percent(group.mean)}` +
    (group.half === null ? "" : ` ± ${group.half.toFixed(2)}`) +
    `, ${format.plural(group.count, "run", "runs")}`;

  /** plot({names, groups, numeric}, width, height) */
  wer.plot = ({ names, groups, numeric }, width, height) => {
    const box = { left: 48, right: width - 14, top: 10, bottom: height - 26 };
    const [low, high] = range(groups);
    const y = (value) => box.bottom - ((value - low) / (high - low)) * (box.bottom - box.top);
    const step = (box.right - box.left) / groups.length;
    const x = (k) => box.left + step * (k + 0.5);
    const letters = Math.max(3, Math.floor(step / 6.6));
    const every = Math.ceil(Math.max(...groups.map(({ label }) => Math.min(label.length, 9))) / letters);
    const rules = stats
      .ticks(low, high, height > 250 ? 6 : 5)
      .map((tick) => [
        svg("path", { class: "plot-grid", d: `M${box.left} ${y(tick.at)}H${box.right}` }),
        svg("text", { class: "plot-text", x: box.left - 6, y: y(tick.at) + 4, "text-anchor": "end" }, `${tick.text} %`),
      ]);
    const labels = groups.map(
      (group, k) =>
        k % every === 0 &&
        svg(
          "text",
          { class: "plot-text", x: x(k), y: height - 8, "text-anchor": "middle" },
          shortened(group.label, letters * every),
        ),
    );
    const line =
      numeric &&
      svg("path", {
        class: "plot-line",
        d: groups.map((group, k) => `${k ? "L" : "M"}${x(k)} ${y(group.mean)}`).join(""),
      });
    const points = groups.map((group, k) =>
      svg(
        "g",
        {},
        svg("title", {}, describe(group)),
        bar(x(k), group, y, box),
        svg("circle", { class: "plot-point", cx: x(k), cy: y(group.mean), r: 4 }),
      ),
    );
    return svg(
      "svg",
      {
        class: "plot",
        viewBox: `0 0 ${width} ${height}`,
        role: "img",
        "aria-label": `Test WER by ${shortened(names.join(", "), 80)}. ${groups.map(describe).join("; ")}`,
      },
      rules,
      labels,
      line,
      points,
    );
  };
})();
