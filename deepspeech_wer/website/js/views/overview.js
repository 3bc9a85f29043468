// Where do we stand: better or worse than the previous merge, and than the best one?
(() => {
  "use strict";
  const { el, format } = wer;
  const DAY = 86_400;

  const measured = (data) => data.test.flatMap((value, i) => (value === null ? [] : [i]));

  const latestTile = (data, last) => {
    if (last === undefined) return wer.tile("Latest test WER", format.none, "", "no run has measured one yet");
    const before = wer.previous(data, last);
    const errors = format.errors(data, last);
    return wer.tile(
      "Latest test WER",
      format.number(data.test[last]),
      "%",
      [wer.runLink(data, last), ` · ${format.date(data.started[last])}`],
      before === null
        ? "first with these parameters"
        : [wer.change(wer.delta(data, last)), " vs ", wer.runLink(data, before)],
      errors,
    );
  };

  const bestTile = (data, places) => {
    if (!places.length) return wer.tile("Best ever", format.none, "", "");
    const best = places.reduce((a, b) => (data.test[b] < data.test[a] ? b : a));
    const now = data.test[places[places.length - 1]] - data.test[best];
    return wer.tile(
      "Best ever",
      format.number(data.test[best]),
      "%",
      [wer.runLink(data, best), ` · ${format.date(data.started[best])}`],
      now === 0 ? "the latest is the best" : ["now ", format.points(now)],
    );
  };

  const overfitTile = (data, last) => {
    const known = last !== undefined && data.train[last] !== null;
    return wer.tile(
      "Overfit gap (test − train)",
      known ? format.number(data.test[last] - data.train[last]) : format.none,
      known ? "pp" : "",
      known
        ? `test ${format.percent(data.test[last])}, train ${format.percent(data.train[last])}`
        : "the latest run has no train WER",
    );
  };

  const runsTile = (data) => {
    const failures = data.status.filter((status) => status !== "done").length;
    const end = data.started[data.count - 1];
    const recent = data.started.filter((time) => time > end - 30 * DAY).length;
    return wer.tile(
      "Runs",
      format.count(data.count),
      "",
      [
        failures ? el("a", { href: "#/runs?status=failed" }, `${format.count(failures)} failed`) : "none failed",
        ` · ${format.count(recent)} in the last 30 days`,
      ],
      `the last took ${format.duration(data.took[data.count - 1])}`,
    );
  };

  const tiles = (data) => {
    const places = measured(data);
    const last = places[places.length - 1];
    return el(
      "div",
      { class: "tiles" },
      latestTile(data, last),
      bestTile(data, places),
      overfitTile(data, last),
      runsTile(data),
    );
  };

  /** The answer to "where do we stand?", as the tracker worded it. */
  const headline = (data) => {
    if (!data.headline) return null;
    const [state, text] = data.headline;
    return el("p", { class: `headline headline-${state.replaceAll(" ", "-")}` }, text);
  };

  /** A banner if the latest runs failed: without it the tiles below would look up to date. */
  const trailing = (data) => {
    let first = data.count;
    while (first > 0 && wer.failed(data, first - 1)) first--;
    const count = data.count - first;
    if (!count || !first) return null;
    const what = count === 1 ? "The latest run failed" : `The latest ${count} runs failed`;
    return el(
      "p",
      { class: "banner" },
      "✕ ",
      what,
      ": ",
      data.status[data.count - 1],
      " · ",
      wer.runLink(data, data.count - 1),
    );
  };

  const presets = (data, kind) => {
    const options =
      kind === "date"
        ? [
            [30, "30 d"],
            [90, "90 d"],
            [365, "1 y"],
          ]
        : [
            [30, "30"],
            [100, "100"],
            [1000, "1,000"],
          ];
    const span = kind === "date" ? (data.committed[data.count - 1] - data.committed[0]) / DAY : data.count;
    return [...options.filter(([amount]) => amount < span), ["all", "all"]];
  };

  const presetRange = (axis, kind, preset) =>
    preset === "all"
      ? [axis.low, axis.high]
      : [Math.max(axis.low, axis.high - preset * (kind === "date" ? DAY : 1)), axis.high];

  /** The range in the address, or nulls where it has none or a broken one. */
  const rangeOf = (query) => {
    const [from, to] = ["from", "to"].map((name) => (query.has(name) ? Number(query.get(name)) : NaN));
    return from < to ? { from, to } : { from: null, to: null };
  };

  const address = (kind, whole, from, to) => {
    const query = new URLSearchParams();
    if (kind === "date") query.set("axis", "date");
    if (!whole) {
      const round = (x) => String(kind === "date" ? Math.round(x) : Math.round(x * 100) / 100);
      query.set("from", round(from));
      query.set("to", round(to));
    }
    wer.setAddress(String(query) ? `#/?${query}` : "#/");
  };

  const chartCard = (data, query) => {
    const kind = query.get("axis") === "date" ? "date" : "merge";
    let ready = false;
    const range = (from, to, whole) => {
      if (!ready) return;
      address(kind, whole, from, to);
      zooms.press(whole ? "all" : null);
    };
    const open = (i) => (location.hash = wer.runHref(data.ids[i]));
    const chart = wer.chart(data, { kind, ...rangeOf(query) }, { range, open });
    const swap = (other) => (location.hash = other === "date" ? "#/?axis=date" : "#/");
    const zooms = wer.choice("Range", presets(data, kind), query.has("from") ? null : "all", (preset) => {
      chart.zoom(...presetRange(chart.axis, kind, preset));
      zooms.press(preset);
    });
    const card = el(
      "section",
      { class: "card" },
      el(
        "div",
        { class: "card-head" },
        el("h2", {}, "WER of every merge"),
        chart.legend,
        el("span", { class: "grow" }),
        wer.choice(
          "Axis",
          [
            ["merge", "by merge"],
            ["date", "by date"],
          ],
          kind,
          swap,
        ),
        zooms,
      ),
      chart.root,
      el("p", { class: "hint" }, hint(data), " ", el("a", { href: "#/runs" }, "The same as a table")),
    );
    const start = () => {
      chart.start();
      // uPlot sets its first range in a microtask. That is not the visitor's doing and must not change the address.
      setTimeout(() => (ready = true));
    };
    return { card, start, destroy: chart.destroy };
  };

  const hint = (data) => {
    const parts = ["Drag to zoom, double-click to reset, click a point to open the run."];
    if (wer.lines.isDense(0, data.count - 1)) parts.unshift("Thick: median of 15 runs. Thin: every run.");
    if (data.status.some((status) => status !== "done")) parts.push("✕ failed run.");
    parts.push("▲ off the scale.");
    return parts.join(" ");
  };

  const latest = (data) => {
    const rows = Array.from({ length: Math.min(12, data.count) }, (_, i) => data.count - 1 - i);
    return el(
      "section",
      { class: "card" },
      el(
        "div",
        { class: "card-head" },
        el("h2", {}, "Latest runs"),
        el("span", { class: "grow" }),
        el("a", { href: "#/runs" }, `all ${format.count(data.count)}`),
      ),
      wer.table(
        "Latest runs",
        wer.runColumns(data, "run", "started", "subject", "test", "delta", "verdict", "validation", "train", "errors", "took"),
        rows,
      ),
    );
  };

  wer.views.add({
    name: "overview",
    title: "Overview",
    place: 1,
    draw: (root, data, { query }) => {
      wer.replace(
        root,
        wer.heading(
          "Word error rate, every merge",
          "Lower is better. 0 % means every word was understood; insertions can push it above 100 %.",
        ),
      );
      if (!data.count) {
        root.append(
          wer.notice(
            "No runs yet",
            "The tracker has not finished a training. Each merge appears here as soon as its word error rate is known.",
          ),
        );
        return null;
      }
      const chart = chartCard(data, query);
      let table = latest(data);
      wer.replace(root, root.firstChild, root.childNodes[1], headline(data), trailing(data), tiles(data), chart.card, table);
      chart.start();
      const refresh = () => {
        const fresh = latest(data);
        table.replaceWith(fresh);
        table = fresh;
      };
      document.addEventListener("wer:merges", refresh);
      return () => {
        document.removeEventListener("wer:merges", refresh);
        chart.destroy();
      };
    },
  });
})();
