// The card with the chart of all runs: legend, axis, ranges. Its whole state is in the address.
(() => {
  "use strict";
  const { el, lines } = wer;
  const DAY = 86_400;

  /**
   * The state in the address; what is broken in it counts as absent.
   * @param {URLSearchParams} query
   */
  const stateOf = (query) => {
    const [from, to] = ["from", "to"].map((name) => (query.has(name) ? Number(query.get(name)) : NaN));
    return {
      kind: query.get("axis") === "date" ? "date" : "merge",
      from: from < to ? from : null,
      to: from < to ? to : null,
      hidden: new Set((query.get("hide") ?? "").split(",").filter((key) => lines.keys.some((known) => known === key))),
    };
  };

  /** @param {ChartState} state */
  const address = ({ kind, from, to, hidden }) => {
    const query = new URLSearchParams();
    if (kind === "date") query.set("axis", "date");
    if (from !== null && to !== null) {
      /** @param {number} x */
      const round = (x) => String(kind === "date" ? Math.round(x) : Math.round(x * 100) / 100);
      query.set("from", round(from));
      query.set("to", round(to));
    }
    if (hidden.size) query.set("hide", lines.keys.filter((key) => hidden.has(key)).join(","));
    return String(query) ? `#/?${String(query).replaceAll("%2C", ",")}` : "#/";
  };

  /** @param {Data} data @param {Axis} axis @param {string} kind */
  const presets = (data, axis, kind) => {
    const dates = [["30", "30 d"], ["90", "90 d"], ["365", "1 y"]];
    const counts = [["30", "30"], ["100", "100"], ["1000", "1,000"]];
    const span = kind === "date" ? (axis.high - axis.low) / DAY : data.count;
    return [...(kind === "date" ? dates : counts).filter(([amount]) => Number(amount) < span), ["all", "all"]];
  };

  /**
   * The newest runs; the last days end now at the latest, also where a run is from a clock in the future.
   * @param {Axis} axis
   * @param {string} kind
   * @param {string} preset
   * @returns {Scale}
   */
  const presetRange = (axis, kind, preset) => {
    if (preset === "all") return [axis.low, axis.high];
    const span = Number(preset) * (kind === "date" ? DAY : 1);
    const end = kind === "date" ? Math.min(axis.high, Math.max(Date.now() / 1000, axis.low + span)) : axis.high;
    return [Math.max(axis.low, end - span), end];
  };

  /**
   * The same runs on the other axis.
   * @param {Data} data
   * @param {ChartState} state
   * @param {string} kind
   */
  const converted = (data, state, kind) => {
    const { from, to } = state;
    if (from === null || to === null) return { ...state, kind };
    const [was, is] = [wer.axis(data, state.kind), wer.axis(data, kind)];
    const inside = was.xs.flatMap((x, i) => (x >= from && x <= to ? [i] : []));
    if (!inside.length) return { ...state, kind, from: null, to: null };
    const half = 0.5;
    const [low, high] = [is.xs[inside[0]], is.xs[inside[inside.length - 1]]];
    return { ...state, kind, from: Math.max(is.low, low - half), to: Math.min(is.high, high + half) };
  };

  /** @param {Data} data */
  const hint = (data) => {
    const parts = ["Drag to zoom, double-click to reset, click a point to open the run."];
    if (data.bands?.some((band) => band !== null)) parts.unshift("Band: 95 % interval of one training.");
    if (lines.isDense(0, data.count - 1)) parts.unshift("Thick: median of 15 runs. Thin: every run.");
    const shown = new Set(data.verdicts ?? []);
    if (shown.has("worse")) parts.push("▲ worse.");
    if (shown.has("better") || shown.has("recovered")) parts.push("▼ better or recovered.");
    if (data.events.some(({ state }) => state === "accepted")) parts.push("✓ accepted.");
    if (data.status.some((status) => status !== "done")) parts.push("✕ failed.");
    parts.push("↑ off the scale.");
    if (lines.breaks(data).length) parts.push("Dashed: another series begins.");
    return parts.join(" ");
  };

  /**
   * The chart and its buttons for one axis; another axis makes another one of it.
   * @param {Data} data
   * @param {ChartState} state
   */
  const stage = (data, state) => {
    let ready = false;
    /** @param {number} from @param {number} to @param {boolean} whole */
    const range = (from, to, whole) => {
      if (!ready) return;
      Object.assign(state, whole ? { from: null, to: null } : { from, to });
      wer.setAddress(address(state));
      zooms.press(whole ? "all" : null);
    };
    /** @param {number} i */
    const open = (i) => (location.hash = wer.runHref(data.ids[i]));
    const chart = wer.chart(data, state, { range, open });
    const zooms = wer.choice("Range", presets(data, chart.axis, state.kind), state.from === null ? "all" : null, (key) => {
      chart.zoom(...presetRange(chart.axis, state.kind, key));
      zooms.press(key);
    });
    const start = () => {
      chart.start();
      // uPlot sets its first range in a microtask. That is not the visitor's doing and must not change the address.
      setTimeout(() => (ready = true), 0);
    };
    return { chart, zooms, start };
  };

  /** overviewChart(data, query) -> {card, start(), destroy()} */
  wer.overviewChart = (data, query) => {
    let state = stateOf(query);
    let now = stage(data, state);
    /** @param {string} kind */
    const swap = (kind) => {
      state = converted(data, state, kind);
      const next = stage(data, state);
      now.chart.destroy();
      now.chart.root.replaceWith(next.chart.root);
      now.zooms.replaceWith(next.zooms);
      now = next;
      now.start();
      wer.setAddress(address(state));
    };
    const legend = lines.legend(state.hidden, (key, isOn) => {
      now.chart.show(key, isOn);
      wer.setAddress(address(state));
    });
    const kinds = [["merge", "by merge"], ["date", "by date"]];
    const card = el(
      "section",
      { class: "card chart-card" },
      el("h2", { class: "visually-hidden" }, "WER of every merge"),
      legend,
      el("div", { class: "chart-controls" }, wer.choice("Axis", kinds, state.kind, swap), now.zooms),
      now.chart.root,
      el("p", { class: "hint" }, hint(data), " ", el("a", { href: "#/runs" }, "The same as a table")),
    );
    return { card, start: () => now.start(), destroy: () => now.chart.destroy() };
  };
})();
