// The chart of all runs: uPlot draws it; marks, keyboard, live region, tooltip and range strip are added here.
(() => {
  "use strict";
  const { el, lines, palette, stats } = wer;

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

  const options = (data, axis, kind, size, on) => {
    const shown = (u) => lines.keys.map((key) => data[key]).filter((_, k) => u.series[k + 1].show);
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
      series: lines.series(data),
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false, dist: 4 }, lock: false },
      padding: [12, 12, 0, 0],
      hooks: {
        draw: [(u) => wer.drawMarks(u, data, axis.xs)],
        setCursor: [(u) => on.point(u)],
        setScale: [(u, key) => key === "x" && on.range(u.scales.x.min, u.scales.x.max)],
      },
    };
  };

  const size = (root) => ({ width: Math.max(root.clientWidth, 200), height: root.clientWidth < 560 ? 260 : 340 });

  /** Left and right move from run to run, Enter opens a run, + and - zoom, 0 shows all. */
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

  /** A click waits before it opens the run: it may be the first half of a double click, which shows all. */
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
   *   -> {root, axis, legend, start(), zoom(from, to), destroy()}. Call start() once root is in the page.
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
    const ys = lines.isDense(0, data.count - 1) ? lines.medians(data)[0] : data.test;
    const strip = wer.range({ ...axis, ys }, (low, high) => zoom(low, high));
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
      const columns = [axis.xs, ...lines.keys.map((key) => data[key]), ...lines.medians(data)];
      u = new uPlot(options(data, axis, kind, size(box), { point, range }), columns, box);
      u.over.append(tooltip.marker, tooltip.root);
      pointer(u, tooltip, on.open);
      box.addEventListener("keydown", keyboard(u, data, axis, { zoom, focus, blur, open: on.open }));
      wer.replace(made.legend, lines.legend(u));
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
