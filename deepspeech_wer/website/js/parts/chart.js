// The WER of every run over the history: uPlot, and what it lacks: marks, keyboard, live region, tooltip, range strip.
(() => {
  "use strict";
  const { el, format, palette, stats } = wer;
  const DENSE = 260; // visible runs above which single ones fade behind a rolling median
  const REACH = 7; // the median is over 15 runs
  const LINES = [
    { key: "test", label: "Test", dash: [] },
    { key: "validation", label: "Validation", dash: [8, 5] },
    { key: "train", label: "Train", dash: [2, 4] },
  ];

  // -- axes: uPlot wants ascending, unique x

  const byMerge = (data) => ({
    xs: data.ids.map((_, i) => i),
    low: -0.5,
    high: data.count - 0.5,
    least: 3,
    describe: (x) => {
      const i = Math.min(Math.max(Math.round(x), 0), data.count - 1);
      return `№ ${data.ordinals[i]}, ${format.date(data.started[i])}`;
    },
  });

  /**
   * By the date of the merge, in the order of history even where a clock was wrong; a second apart at least. No merge is
   * younger than its training: one date in the future would push all later merges there.
   */
  const byDate = (data) => {
    let last = -Infinity;
    const date = (i) => Math.min(data.committed[i] ?? Infinity, data.started[i] ?? Infinity);
    const xs = data.ids.map((_, i) => (last = Math.max(Number.isFinite(date(i)) ? date(i) : last, last + 1, 0)));
    const pad = Math.max((xs[xs.length - 1] - xs[0]) * 0.01, 3600);
    return { xs, low: xs[0] - pad, high: xs[xs.length - 1] + pad, least: 7200, describe: format.date };
  };

  wer.axis = (data, kind) => (kind === "date" ? byDate(data) : byMerge(data));

  const merges = (data) => (_, splits) =>
    splits.map((at) => (Number.isInteger(at) && data.ordinals[at] !== undefined ? `№ ${data.ordinals[at]}` : ""));

  const axes = (data, kind) => {
    const common = {
      stroke: () => palette.muted,
      font: palette.font,
      ticks: { show: false },
      grid: { stroke: () => palette.grid, width: 1 },
    };
    const bottom =
      kind === "date"
        ? { space: 80 }
        : {
            space: 70,
            incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4],
            values: merges(data),
          };
    return [
      { ...common, ...bottom, size: kind === "date" ? 42 : 28 },
      { ...common, size: 52, values: (_, splits) => splits.map((value) => `${+value.toFixed(2)} %`) },
    ];
  };

  // -- lines: each column twice, as it is and as rolling median

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

  // -- marks: failed runs, and runs above or below the picture

  const triangle = (pen, x, y, up, size) => {
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(x - size, y + (up ? 1.6 : -1.6) * size);
    pen.lineTo(x + size, y + (up ? 1.6 : -1.6) * size);
    pen.closePath();
    pen.fill();
  };

  /** A cross, or where there are too many runs for crosses, a tick. */
  const failure = (pen, x, y, size, dense) => {
    pen.beginPath();
    if (dense) {
      pen.moveTo(x, y - size);
      pen.lineTo(x, y + size);
      return pen.stroke();
    }
    pen.moveTo(x - size, y - size);
    pen.lineTo(x + size, y + size);
    pen.moveTo(x - size, y + size);
    pen.lineTo(x + size, y - size);
    return pen.stroke();
  };

  const drawMarks = (u, data, xs) => {
    const pen = u.ctx;
    const scale = uPlot.pxRatio;
    const { top, height } = u.bbox;
    const { min, max } = u.scales.y;
    const [from, to] = u.series[0].idxs;
    pen.save();
    pen.lineWidth = (isDense(from, to) ? 1 : 2) * scale;
    pen.strokeStyle = palette.bad;
    for (let i = from; i <= to; i++) {
      const x = u.valToPos(xs[i], "x", true);
      if (wer.failed(data, i)) failure(pen, x, top + height - 7 * scale, 3.5 * scale, isDense(from, to));
      LINES.forEach((_, n) => {
        const k = LINES.length - 1 - n; // the first line matters most: its marks are drawn last, on top
        const key = LINES[k].key;
        const value = data[key][i];
        if (value === null || !u.series[k + 1].show || (value <= max && value >= min)) return;
        pen.fillStyle = palette[key];
        triangle(pen, x, value > max ? top + scale : top + height - scale, value > max, 4.5 * scale);
      });
    }
    pen.restore();
  };

  // -- the chart

  const options = (data, axis, kind, size, on) => {
    const shown = (u) => LINES.map(({ key }) => data[key]).filter((_, k) => u.series[k + 1].show);
    const limit = (_, from, to) =>
      from <= axis.xs[0] && to >= axis.xs[axis.xs.length - 1]
        ? [axis.low, axis.high]
        : [Math.max(from, axis.low), Math.min(to, axis.high)];
    return {
      ...size,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      fmtDate: (template) =>
        uPlot.fmtDate(
          template
            .replace("{M}/{D}/{YY}", "{YYYY}-{MM}-{DD}")
            .replace("{M}/{D}", "{MM}-{DD}")
            .replace("{h}:{mm}{aa}", "{HH}:{mm}")
            .replace("{h}{aa}", "{HH}:00")
            .replace("\n{YY}", "\n{YYYY}"),
        ),
      legend: { show: false },
      scales: {
        x: { time: kind === "date", range: limit },
        y: { range: (u) => stats.robustRange(shown(u), ...u.series[0].idxs) },
      },
      axes: axes(data, kind),
      series: [{}, ...LINES.map((line) => raw(line, data[line.key])), ...LINES.map(smooth)],
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false, dist: 4 }, lock: false },
      padding: [12, 12, 0, 0],
      hooks: {
        draw: [(u) => drawMarks(u, data, axis.xs)],
        setCursor: [(u) => on.point(u)],
        setScale: [(u, key) => key === "x" && on.range(u.scales.x.min, u.scales.x.max)],
      },
    };
  };

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
              u.setSeries(k + 4, { show });
            },
          },
          sample,
          line.label,
        );
        return button;
      }),
    );

  const size = (root) => ({ width: Math.max(root.clientWidth, 200), height: root.clientWidth < 560 ? 260 : 340 });

  /** Left and right walk from run to run, Enter opens, + and - zoom, 0 shows all. */
  const keyboard = (u, data, axis, act) => {
    let at = data.count - 1;
    const walk = (by) => {
      at = Math.min(Math.max(at + by, 0), data.count - 1);
      const { min, max } = u.scales.x;
      if (axis.xs[at] < min || axis.xs[at] > max)
        act.zoom(axis.xs[at] - (max - min) / 2, axis.xs[at] + (max - min) / 2);
      act.focus(at);
    };
    const zoom = (factor) => {
      const { min, max } = u.scales.x;
      const half = Math.max(((max - min) / 2) * factor, axis.least / 2);
      const middle = Math.min(Math.max(axis.xs[at], min), max);
      act.zoom(middle - half, middle + half);
    };
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
    return (event) => {
      if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      keys[event.key](event);
    };
  };

  /** A click opens the run, a bit later: it may be the first half of the double click that shows all. */
  const pointer = (u, tooltip, open) => {
    let start = null;
    let opening = null;
    u.over.addEventListener("pointerdown", (event) => (start = { x: event.clientX, type: event.pointerType }));
    u.over.addEventListener("click", (event) => {
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
   * chart(data, {kind: "merge" | "date", from, to}, {range(from, to), open(i)})
   *   -> {root, legend, start(), zoom(from, to), destroy()}; start() once root is in the page.
   */
  wer.chart = (data, { kind, from, to }, on) => {
    const axis = wer.axis(data, kind);
    const tooltip = wer.tooltip(data);
    const live = el("p", { class: "visually-hidden", "aria-live": "polite" });
    const box = el("div", {
      class: "chart",
      role: "group",
      tabindex: 0,
      "aria-roledescription": "chart",
      "aria-label":
        "Word error rate of every run. Arrow keys walk from run to run, Enter opens one, plus and minus zoom, 0 shows all.",
    });
    const root = el("div", { class: "chart-box" }, box, live);
    const strip = wer.range({ ...axis, ys: isDense(0, data.count - 1) ? medians(data)[0] : data.test }, (low, high) =>
      zoom(low, high),
    );
    let u = null;

    const zoom = (low, high) => u.setScale("x", { min: Math.max(low, axis.low), max: Math.min(high, axis.high) });
    const point = (plot) => {
      if (plot.cursor.idx === null || plot.cursor.left < 0) tooltip.hide();
      else show(plot.cursor.idx);
    };
    const show = (i) => tooltip.show(i, u.valToPos(axis.xs[i], "x"), u.over.clientWidth);
    const range = (low, high) => {
      strip.show(low, high);
      on.range(low, high, low <= axis.low && high >= axis.high);
    };
    const focus = (i) => {
      u.setCursor({ left: u.valToPos(axis.xs[i], "x"), top: u.over.clientHeight / 2 });
      show(i);
      live.textContent = tooltip.root.innerText;
    };
    const blur = () => {
      u.setCursor({ left: -10, top: -10 });
      tooltip.hide();
    };

    const start = () => {
      const columns = [axis.xs, ...LINES.map(({ key }) => data[key]), ...medians(data)];
      u = new uPlot(options(data, axis, kind, size(box), { point, range }), columns, box);
      u.over.append(tooltip.marker, tooltip.root);
      pointer(u, tooltip, on.open);
      box.addEventListener("keydown", keyboard(u, data, axis, { zoom, focus, blur, open: on.open }));
      wer.replace(made.legend, legend(u));
      root.append(strip.root);
      strip.draw();
      if (from !== null && to !== null) zoom(from, to);
      resizes.observe(box);
      document.addEventListener("wer:theme", repaint);
    };
    const repaint = () => (u.redraw(false, true), strip.draw());
    const resizes = new ResizeObserver(() => {
      const wanted = size(box);
      if (wanted.width !== u.width) (u.setSize(wanted), strip.draw());
    });
    const destroy = () => {
      resizes.disconnect();
      document.removeEventListener("wer:theme", repaint);
      u?.destroy();
    };
    const made = { root, axis, legend: el("div", {}), start, destroy, zoom };
    return made;
  };
})();
