// The lines of the chart: each column as measured and as a rolling median. The legend shows and hides them.
(() => {
  "use strict";
  const { el, palette, stats } = wer;
  const DENSE = 260; // with more runs in view, single ones fade behind the rolling median
  const REACH = 7; // on either side: a median of 15 runs
  const LINES = [
    { key: "test", label: "Test", dash: [] },
    { key: "validation", label: "Validation", dash: [8, 5] },
    { key: "train", label: "Train", dash: [2, 4] },
  ];

  const isDense = (from, to) => to - from > DENSE;

  const lone = (column) => (u, s, show) => {
    if (show) return null;
    const [from, to] = u.series[0].idxs;
    const out = [];
    const missing = (i) => column[i] === null || column[i] === undefined;
    for (let i = from; i <= to; i++) if (!missing(i) && missing(i - 1) && missing(i + 1)) out.push(i);
    return out;
  };

  const raw = (line, column) => {
    const linear = uPlot.paths.linear();
    const faint = (u) => isDense(...u.series[0].idxs);
    return {
      label: line.label,
      stroke: (u) => palette[line.key] + (faint(u) && palette[line.key].startsWith("#") ? "59" : ""),
      paths: (u, s, from, to) => {
        u.series[s].width = faint(u) ? 1 : 2;
        u.series[s].dash = faint(u) ? [] : line.dash;
        u.series[s].points.size = faint(u) ? 4 : 6;
        return linear(u, s, from, to);
      },
      points: {
        show: (u) => !faint(u),
        filter: lone(column),
        size: 6,
        stroke: () => palette[line.key],
        fill: () => palette[line.key],
      },
    };
  };

  const smooth = (line) => {
    const linear = uPlot.paths.linear();
    return {
      label: `${line.label}, median`,
      stroke: () => palette[line.key],
      width: 2.5,
      dash: line.dash,
      paths: (u, s, from, to) => (isDense(...u.series[0].idxs) ? linear(u, s, from, to) : null),
      points: { show: false, filter: () => null },
    };
  };

  const medians = (data) =>
    (data.medians ||= LINES.map(({ key }) =>
      isDense(0, data.count - 1) ? stats.rollingMedian(data[key], REACH) : new Array(data.count).fill(null),
    ));

  /** uPlot's series. The first one stands for the x axis. */
  const series = (data) => [{}, ...LINES.map((line) => raw(line, data[line.key])), ...LINES.map(smooth)];

  const legend = (u) =>
    el(
      "div",
      { class: "legend", role: "group", "aria-label": "Lines shown" },
      LINES.map((line, k) => {
        const sample = wer.svg(
          "svg",
          { width: 22, height: 8, "aria-hidden": "true", class: `line-${line.key}` },
          wer.svg("path", { d: "M1 4h20" }),
        );
        const button = el(
          "button",
          {
            type: "button",
            "aria-pressed": true,
            onclick: () => {
              const show = button.getAttribute("aria-pressed") !== "true";
              button.setAttribute("aria-pressed", show);
              u.setSeries(k + 1, { show });
              u.setSeries(LINES.length + k + 1, { show });
            },
          },
          sample,
          line.label,
        );
        return button;
      }),
    );

  const keys = LINES.map(({ key }) => key);
  wer.lines = { keys, isDense, medians, series, legend };
})();
