// The lines of the chart: each column as measured, as a rolling median, and the band of the test WER.
(() => {
  "use strict";
  const { el, palette, stats } = wer;
  const DENSE = 260; // with more runs in view, single ones fade behind the rolling median
  const REACH = 7; // on either side: a median of 15 runs
  /** @type {{key: LineKey, label: string, dash: number[]}[]} */
  const LINES = [
    { key: "test", label: "Test", dash: [] },
    { key: "validation", label: "Validation", dash: [8, 5] },
    { key: "train", label: "Train", dash: [2, 4] },
  ];
  const DRAWN = [...LINES].reverse(); // the test WER last: no other line lies on it

  /** @param {number} from @param {number} to */
  const isDense = (from, to) => to - from > DENSE;

  /**
   * The runs before which a line must not go on: another test set, or a new series.
   * @param {Data} data
   */
  const breaks = (data) => {
    if (data.breaks) return data.breaks;
    const found = new Set(data.marks.filter(([, , isNew]) => isNew).map(([at]) => at));
    for (let i = 1; i < data.count; i++) if (data.signatures[i] !== data.signatures[i - 1]) found.add(i);
    return (data.breaks = [...found].sort((a, b) => a - b));
  };

  /**
   * A run without neighbours on its line: without a point nobody would see it.
   * @param {Data} data
   * @param {Percent[]} column
   */
  const lone = (data, column) => {
    const broken = new Set(breaks(data));
    /** @param {number} i */
    const missing = (i) => column[i] === null || column[i] === undefined;
    return (/** @type {uPlot} */ u, /** @type {number} */ s, /** @type {boolean} */ show) => {
      if (show) return null;
      const [from, to] = u.series[0].idxs;
      const out = [];
      for (let i = from; i <= to; i++) {
        const isLast = missing(i + 1) || broken.has(i + 1);
        if (!missing(i) && isLast && (missing(i - 1) || broken.has(i))) out.push(i);
      }
      return out;
    };
  };

  /**
   * uPlot's gaps, and one at each break.
   * @param {Data} data
   * @returns {(u: uPlot, s: number, from: number, to: number, nulls: [number, number][]) => number[][]}
   */
  const gaps = (data) => (u, _, from, to, nulls) => {
    const between = breaks(data)
      .filter((i) => i > from && i <= to)
      .map((i) => [i - 1, i].map((at) => Math.round(u.valToPos(u.data[0][at], "x", true))));
    return [...nulls, ...between].sort(([a], [b]) => a - b);
  };

  /** @param {string} colour */
  const faded = (colour) => (palette.isForced ? colour : colour.replace(/^rgb\((.*)\)$/, "rgba($1, 0.35)"));

  /** @param {Data} data @param {ChartLine} line */
  const raw = (data, line) => {
    const linear = uPlot.paths.linear();
    /** @param {uPlot} u */
    const faint = (u) => isDense(u.series[0].idxs[0], u.series[0].idxs[1]);
    return {
      label: line.label,
      gaps: gaps(data),
      stroke: (/** @type {uPlot} */ u) => (faint(u) ? faded(palette[line.key]) : palette[line.key]),
      paths: /** @type {UPlotPaths} */ (u, s, from, to) => {
        u.series[s].width = faint(u) ? 1 : 2;
        u.series[s].dash = faint(u) ? [] : line.dash;
        u.series[s].points.size = faint(u) ? 4 : 6;
        return linear(u, s, from, to);
      },
      points: {
        show: (/** @type {uPlot} */ u) => !faint(u),
        filter: lone(data, data[line.key]),
        size: 6,
        stroke: () => palette[line.key],
        fill: () => palette[line.key],
      },
    };
  };

  /** @param {Data} data @param {ChartLine} line */
  const smooth = (data, line) => {
    const linear = uPlot.paths.linear();
    return {
      label: `${line.label}, median`,
      gaps: gaps(data),
      stroke: () => palette[line.key],
      width: 2.5,
      dash: line.dash,
      paths: /** @type {UPlotPaths} */ (u, s, from, to) => (isDense(u.series[0].idxs[0], u.series[0].idxs[1]) ? linear(u, s, from, to) : null),
      points: { show: false, filter: () => null },
    };
  };

  /**
   * The rolling median of a column; it does not look across breaks.
   * @param {Data} data
   * @param {Percent[]} column
   */
  const median = (data, column) => {
    const ends = [...breaks(data), data.count];
    let start = 0;
    return ends.flatMap((end) => {
      const part = stats.rollingMedian(column.slice(start, end), REACH);
      start = end;
      return part;
    });
  };

  /**
   * By key. Nulls where so few runs make no median.
   * @param {Data} data
   */
  const medians = (data) =>
    (data.medians ||= Object.fromEntries(
      LINES.map(({ key }) => [
        key,
        isDense(0, data.count - 1) ? median(data, data[key]) : new Array(data.count).fill(null),
      ]),
    ));

  /** @param {Data} data @param {number} sign */
  const edge = (data, sign) =>
    data.test.map((value, i) => {
      const band = data.bands?.[i] ?? null;
      return value === null || band === null ? null : Math.max(0, value + sign * band);
    });

  /** @param {Data} data */
  const side = (data) => ({
    label: "95 %",
    gaps: gaps(data),
    width: 0,
    stroke: "transparent",
    points: { show: false, filter: () => null },
    paths: /** @type {UPlotPaths} */ (u, s, from, to) => (isDense(u.series[0].idxs[0], u.series[0].idxs[1]) ? null : uPlot.paths.linear()(u, s, from, to)),
  });

  /**
   * uPlot's series: x, the edges of the band, the lines, their medians.
   * @param {Data} data
   */
  const series = (data) => [
    {},
    side(data),
    side(data),
    ...DRAWN.map((line) => raw(data, line)),
    ...DRAWN.map((line) => smooth(data, line)),
  ];

  /** @param {Data} data */
  const columns = (data) => [
    edge(data, 1),
    edge(data, -1),
    ...DRAWN.map(({ key }) => data[key]),
    ...DRAWN.map(({ key }) => medians(data)[key]),
  ];

  /** uPlot's bands: the 95 % interval of one training around each test WER. */
  const bands = () => [{ series: [1, 2], fill: () => palette.test.replace(/^rgb\((.*)\)$/, "rgba($1, 0.14)") }];

  /** @param {string} key */
  const placeOf = (key) => 3 + DRAWN.findIndex((line) => line.key === key);
  /** @param {uPlot} u @param {string} key */
  const isShown = (u, key) => u.series[placeOf(key)].show;

  /** @param {uPlot} u @param {string} key @param {boolean} isOn */
  const show = (u, key, isOn) => {
    u.setSeries(placeOf(key), { show: isOn });
    u.setSeries(placeOf(key) + DRAWN.length, { show: isOn });
    if (key === "test") [1, 2].forEach((k) => u.setSeries(k, { show: isOn }));
  };

  /** @param {ChartLine} line */
  const sample = (line) =>
    wer.svg(
      "svg",
      { width: 22, height: 8, "aria-hidden": "true", class: `line-${line.key}` },
      wer.svg("path", { d: "M1 4h20" }),
    );

  /**
   * Buttons that show and hide lines. `hidden` is a set of keys; `changed(hidden)` is called after each press.
   * @param {Set<string>} hidden
   * @param {(key: string, isOn: boolean) => void} changed
   */
  const legend = (hidden, changed) =>
    el(
      "div",
      { class: "legend", role: "group", "aria-label": "Lines shown" },
      LINES.map((line) => {
        const press = () => {
          if (!hidden.delete(line.key)) hidden.add(line.key);
          button.setAttribute("aria-pressed", String(!hidden.has(line.key)));
          changed(line.key, !hidden.has(line.key));
        };
        const pressed = { type: "button", "aria-pressed": String(!hidden.has(line.key)), onclick: press };
        const button = el("button", pressed, sample(line), line.label);
        return button;
      }),
    );

  const keys = LINES.map(({ key }) => key);
  wer.lines = { keys, isDense, medians, series, columns, bands, breaks, legend, show, isShown };
})();
