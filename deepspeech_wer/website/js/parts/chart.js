// The chart of all runs: uPlot draws it; marks, keyboard, live region, tooltip and range strip are added here.
(() => {
  "use strict";
  const { el, lines, palette, stats } = wer;
  const DAY = 86_400;
  const HELP =
    "Word error rate of every run. Arrow keys walk from run to run, Enter opens one, plus and minus zoom, 0 shows all.";

  /** @param {Data} data @returns {(u: uPlot, splits: number[]) => string[]} */
  const mergeNumbers = (data) => (_, splits) =>
    splits.map((at) => (Number.isInteger(at) && data.ordinals[at] !== undefined ? `№ ${data.ordinals[at]}` : ""));

  /**
   * One row of dates, as long as their distance needs.
   * @param {unknown} _
   * @param {(number | null)[]} splits
   * @param {unknown} __
   * @param {unknown} ___
   * @param {number} step
   */
  const dates = (_, splits, __, ___, step) =>
    splits.map((at) => {
      if (at === null) return "";
      const time = new Date(at * 1000).toISOString();
      if (step >= 300 * DAY) return time.slice(0, 4);
      if (step >= 28 * DAY) return time.slice(0, 7);
      return step >= DAY ? time.slice(0, 10) : `${time.slice(5, 10)} ${time.slice(11, 16)}`;
    });

  /**
   * No label at a tick so near to the edge that its text would be cut.
   * @param {number} letters
   * @returns {(u: uPlot, splits: number[]) => (number | null)[]}
   */
  const whole = (letters) => (u, splits) =>
    splits.map((at) => {
      const x = u.valToPos(at, "x");
      return x + u.bbox.left / uPlot.pxRatio + letters * 4.4 > u.width || x < -1 ? null : at;
    });

  /** @param {Data} data @param {string} kind */
  const axes = (data, kind) => {
    /** @type {(u: uPlot, axis: number, low: number, high: number) => number} */
    const space = (_, __, low, high) => (high - low > 120 * DAY ? 62 : 90);
    /** @type {(u: uPlot, splits: number[]) => string[]} */
    const percents = (_, splits) => splits.map((value) => `${+value.toFixed(2)} %`);
    const common = { stroke: () => palette.muted, font: palette.font, ticks: { show: false } };
    const grid = { grid: { stroke: () => palette.grid, width: 1 } };
    const incrs = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4];
    const bottom =
      kind === "date"
        ? { space, values: dates, filter: whole(10) }
        : { space: 70, incrs, values: mergeNumbers(data), filter: whole(6) };
    return [
      { ...common, ...grid, ...bottom, size: 28 },
      { ...common, ...grid, size: 52, values: percents },
    ];
  };

  /** @param {Percent[][]} columns @param {[number, number]} ends */
  const robust = (columns, [from, to]) => stats.robustRange(columns, from, to);

  /** @param {Axis} axis @returns {(u: uPlot, from: number, to: number) => Scale} */
  const limit = (axis) => (_, from, to) =>
    from <= axis.xs[0] && to >= axis.xs[axis.xs.length - 1]
      ? [axis.low, axis.high]
      : [Math.max(from, axis.low), Math.min(to, axis.high)];

  /**
   * @param {Data} data
   * @param {Axis} axis
   * @param {string} kind
   * @param {{ width: number, height: number }} size
   * @param {ChartActions} on
   */
  const options = (data, axis, kind, size, on) => {
    /** @param {uPlot} u */
    const shown = (u) => lines.keys.filter((key) => lines.isShown(u, key)).map((key) => data[key]);
    return {
      ...size,
      tzDate: (/** @type {number} */ seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      legend: { show: false },
      scales: {
        x: { time: kind === "date", range: limit(axis) },
        y: { range: (/** @type {uPlot} */ u) => robust(shown(u), u.series[0].idxs) },
      },
      axes: axes(data, kind),
      series: lines.series(data),
      bands: lines.bands(),
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false, dist: 4 }, lock: false },
      padding: [12, 28, 0, 0],
      hooks: {
        draw: [(/** @type {uPlot} */ u) => wer.drawMarks(u, data, axis.xs)],
        setCursor: [(/** @type {uPlot} */ u) => on.point(u)],
        setScale: [
          (/** @type {uPlot} */ u, /** @type {string} */ key) => key === "x" && on.range(u.scales.x.min, u.scales.x.max),
        ],
      },
    };
  };

  /** @param {HTMLElement} root */
  const size = (root) => ({ width: Math.max(root.clientWidth, 200), height: root.clientWidth < 560 ? 260 : 340 });

  /**
   * Left and right move from run to run, Enter opens a run, + and - zoom, 0 shows all.
   * @param {uPlot} u
   * @param {Data} data
   * @param {Axis} axis
   * @param {ChartActions} act
   */
  const keyboard = (u, data, axis, act) => {
    let at = data.count - 1;
    /** @param {number} by */
    const walk = (by) => {
      at = Math.min(Math.max(at + by, 0), data.count - 1);
      const { min, max } = u.scales.x;
      if (axis.xs[at] < min || axis.xs[at] > max)
        act.zoom(axis.xs[at] - (max - min) / 2, axis.xs[at] + (max - min) / 2);
      act.focus(at);
    };
    /** @param {number} factor */
    const zoom = (factor) => {
      const { min, max } = u.scales.x;
      const half = Math.max(((max - min) / 2) * factor, axis.least / 2);
      const middle = Math.min(Math.max(axis.xs[at], min), max);
      act.zoom(middle - half, middle + half);
    };
    /** @type {Record<string, (event: KeyboardEvent) => void>} */
    const keys = {
      ArrowLeft: (event) => walk(event.shiftKey ? -10 : -1),
      ArrowRight: (event) => walk(event.shiftKey ? 10 : 1),
      Home: () => walk(-data.count),
      End: () => walk(data.count),
      Enter: () => act.open(at),
      Escape: () => act.blur(),
      "+": () => zoom(0.5),
      "-": () => zoom(2),
      0: () => act.zoom(axis.low, axis.high),
    };
    return (/** @type {KeyboardEvent} */ event) => {
      if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      keys[event.key](event);
    };
  };

  /**
   * A click waits before it opens the run: it may be the first half of a double click, which shows all.
   * @param {uPlot} u
   * @param {Tooltip} tooltip
   * @param {(i: number) => void} open
   */
  const pointer = (u, tooltip, open) => {
    /** @type {{x: number, type: string} | null} */
    let start = null;
    let opening = 0;
    u.over.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => (start = { x: event.clientX, type: event.pointerType }));
    u.over.addEventListener("click", (/** @type {PointerEvent} */ event) => {
      const i = u.cursor.idx;
      if (i === null || i === undefined || !start || Math.abs(event.clientX - start.x) > 4) return;
      if (start.type === "touch") tooltip.show(i, u.cursor.left, u.over.clientWidth, true);
      else {
        clearTimeout(opening);
        opening = setTimeout(() => u.over.isConnected && open(i), 250);
      }
    });
    u.over.addEventListener("dblclick", () => clearTimeout(opening));
    u.over.addEventListener("mouseleave", () => tooltip.hide());
  };

  /**
   * What a pointer, a key or the strip does to the plot.
   * @param {Plot} plot
   * @param {Axis} axis
   * @param {ChartParts} parts
   * @param {ChartEvents} on
   * @returns {ChartActions}
   */
  const actions = (plot, axis, { tooltip, live, strip }, on) => {
    /** @param {number} i */
    const show = (i) => tooltip.show(i, plot.u.valToPos(axis.xs[i], "x"), plot.u.over.clientWidth);
    return {
      zoom: (low, high) => plot.u.setScale("x", { min: Math.max(low, axis.low), max: Math.min(high, axis.high) }),
      point: (u) => {
        if (u.cursor.idx === null || u.cursor.left < 0) tooltip.hide();
        else show(u.cursor.idx);
      },
      range: (low, high) => {
        strip.show(low, high);
        on.range(low, high, low <= axis.low && high >= axis.high);
      },
      focus: (i) => {
        plot.u.setCursor({ left: plot.u.valToPos(axis.xs[i], "x"), top: plot.u.over.clientHeight / 2 });
        show(i);
        live.textContent = tooltip.root.innerText;
      },
      blur: () => {
        plot.u.setCursor({ left: -10, top: -10 });
        tooltip.hide();
      },
      open: on.open,
    };
  };

  /**
   * @param {Data} data
   * @param {ChartState} state
   * @param {HTMLElement} box
   * @param {Axis} axis
   * @param {ChartActions} act
   * @param {Tooltip} tooltip
   * @param {Strip} strip
   */
  const draw = (data, { kind, from, to, hidden }, box, axis, act, tooltip, strip) => {
    const u = new uPlot(options(data, axis, kind, size(box), act), [axis.xs, ...lines.columns(data)], box);
    u.over.append(tooltip.marker, tooltip.root);
    pointer(u, tooltip, act.open);
    for (const key of hidden) lines.show(u, key, false);
    strip.draw();
    if (from !== null && to !== null) setTimeout(() => u.root.isConnected && act.zoom(from, to));
    return u;
  };

  /**
   * Follows the size of the box and the colours of the page until `stop` is called.
   * @param {uPlot} u
   * @param {HTMLElement} box
   * @param {Strip} strip
   */
  const follow = (u, box, strip) => {
    const repaint = () => (u.redraw(false, true), strip.draw());
    const resizes = new ResizeObserver(() => {
      const wanted = size(box);
      if (wanted.width !== u.width) (u.setSize(wanted), strip.draw());
    });
    resizes.observe(box);
    document.addEventListener("wer:theme", repaint);
    return () => {
      resizes.disconnect();
      document.removeEventListener("wer:theme", repaint);
    };
  };

  /**
   * chart(data, {kind: "merge" | "date", from, to, hidden}, {range(from, to, whole), open(i)})
   *   -> {root, axis, start(), show(key, isOn), zoom(from, to), destroy()}. Call start() once root is in the page.
   */
  wer.chart = (data, state, on) => {
    const axis = wer.axis(data, state.kind);
    const tooltip = wer.tooltip(data);
    const live = el("p", { class: "visually-hidden", "aria-live": "polite" });
    const described = { role: "group", tabindex: 0, "aria-roledescription": "chart", "aria-label": HELP };
    const box = el("div", { class: "chart", ...described });
    const ys = lines.isDense(0, data.count - 1) ? lines.medians(data).test : data.test;
    const strip = wer.range({ ...axis, ys }, (low, high) => act.zoom(low, high));
    /** @type {Plot} */
    const plot = { u: null, stop: () => {} };
    const act = actions(plot, axis, { tooltip, live, strip }, on);
    const start = () => {
      plot.u = draw(data, state, box, axis, act, tooltip, strip);
      box.addEventListener("keydown", keyboard(plot.u, data, axis, act));
      plot.stop = follow(plot.u, box, strip);
    };
    const destroy = () => {
      plot.stop();
      plot.u?.destroy();
    };
    const root = el("div", { class: "chart-box" }, box, live, strip.root);
    return { root, axis, start, destroy, zoom: act.zoom, show: (key, isOn) => lines.show(plot.u, key, isOn) };
  };
})();
