// Where do we stand: better or worse than the previous merge, and than the best one?
(() => {
  "use strict";
  const { el, format } = wer;
  const DAY = 86_400;

  /** @param {Data} data */
  const measured = (data) => data.test.flatMap((value, i) => (value === null ? [] : [i]));

  /** @param {Data} data @param {number | undefined} last */
  const latestTile = (data, last) => {
    if (last === undefined) return wer.tile("Latest test WER", format.none, "", "no run has measured one yet");
    const band = data.bands?.[last] ?? null;
    const changes = wer.changeNotes(data, last);
    return wer.tile(
      "Latest test WER",
      format.number(data.test[last]),
      band === null ? "%" : `% ± ${band.toFixed(2)}`,
      ...changes,
      [wer.runLink(data, last), ` · ${format.date(data.started[last])}`],
      format.errors(data, last),
    );
  };

  /** @param {Data} data @param {number[]} places */
  const bestTile = (data, places) => {
    if (!places.length) return wer.tile("Best", format.none, "", "");
    const last = places[places.length - 1];
    const alike = places.filter((i) => data.signatures[i] === data.signatures[last]);
    /** @param {number} i */
    const rate = (i) => data.test[i] ?? NaN; // each is measured
    const best = alike.reduce((a, b) => (rate(b) < rate(a) ? b : a));
    const now = rate(last) - rate(best);
    return wer.tile(
      alike.length === places.length ? "Best ever" : "Best with this test set",
      format.number(data.test[best]),
      "%",
      [wer.runLink(data, best), ` · ${format.date(data.started[best])}`],
      now === 0 ? "the latest is the best" : ["now ", format.points(now)],
    );
  };

  /**
   * A WER that is lower on unseen speech than on the training's means that the network learnt too little.
   * @param {Data} data
   * @param {number | undefined} last
   */
  const fitTile = (data, last) => {
    const [test, train] = last === undefined ? [null, null] : [data.test[last], data.train[last]];
    const gap = test === null || train === null ? null : test - train;
    return wer.tile(
      "Test − train",
      format.number(gap),
      gap === null ? "" : "pp",
      gap === null
        ? "the latest run has no train WER"
        : `test ${format.percent(test)}, train ${format.percent(train)}`,
      gap !== null && (gap < 0 ? "no sign of overfitting" : "the larger, the more it overfits"),
    );
  };

  /** @param {Data} data */
  const runsTile = (data) => {
    const failures = data.status.filter((status) => status !== "done").length;
    const now = Date.now() / 1000; // a day of tolerance: the visitor's clock may be slow, the tracker's may have been fast
    const recent = data.started.filter((time) => time !== null && now - 30 * DAY < time && time < now + DAY).length;
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

  /** @param {Data} data */
  const tiles = (data) => {
    const places = measured(data);
    const last = places[places.length - 1];
    return el(
      "div",
      { class: "tiles" },
      latestTile(data, last),
      bestTile(data, places),
      fitTile(data, last),
      runsTile(data),
    );
  };

  /**
   * The answer to "where do we stand?", as the tracker worded it.
   * @param {Data} data
   */
  const headline = (data) => {
    if (!data.headline)
      return wer.heading("Word error rate, every merge", "Lower is better. 0 % means that every word was understood.");
    const [state, text, at] = data.headline;
    const known = typeof at === "number";
    const ended = known && data.started[at] !== null ? data.started[at] + (data.took[at] ?? 0) : null;
    return el(
      "h1",
      { class: `headline headline-${state.replaceAll(" ", "-")}` },
      wer.bdi(format.prose(text)),
      ended !== null && el("span", { class: "headline-more" }, ` ${format.ago(ended)}. `),
      known && el("a", { class: "headline-more", href: wer.runHref(data.ids[at]) }, "The run"),
      ["worse", "suspect", "recovered"].includes(state) && [
        " ",
        el("a", { class: "headline-more", href: "#/regressions" }, "The evidence"),
      ],
    );
  };

  /**
   * A banner if the latest runs failed: without it the chart and the tiles would look up to date.
   * @param {Data} data
   */
  const trailing = (data) => {
    let first = data.count;
    while (first > 0 && wer.failed(data, first - 1)) first--;
    const count = data.count - first;
    if (!count) return null;
    const what = !first ? "No run was good so far, the latest failed" : count === 1 ? "The latest run failed" : `The latest ${count} runs failed`;
    return el(
      "p",
      { class: "banner" },
      `✕ ${what}: `,
      wer.bdi(data.status[data.count - 1]),
      " · ",
      wer.runLink(data, data.count - 1),
    );
  };

  /**
   * How much a training varies by itself, where it was calibrated.
   * @param {Data} data
   */
  const noise = (data) => data.noise && el("p", { class: "hint noise" }, wer.bdi(format.prose(data.noise)));

  /** @param {Data} data */
  const latest = (data) => {
    const rows = Array.from({ length: Math.min(12, data.count) }, (_, i) => data.count - 1 - i);
    const names = ["run", "started", "subject", "test", "delta", "same", "verdict", "took"];
    const table = wer.table("Latest runs", wer.runColumns(data, ...names), rows);
    return wer.cardOfSome("Latest runs", "#/runs", `all ${format.count(data.count)}`, table);
  };

  /** @param {HTMLElement} root */
  const empty = (root) => {
    wer.replace(
      root,
      wer.heading("Word error rate, every merge"),
      wer.notice(
        "No runs yet",
        "The tracker has not finished a training. Each merge appears here as soon as its word error rate is known.",
      ),
    );
    return null;
  };

  /** @param {HTMLElement} root @param {Data} data @param {Route} route */
  const draw = (root, data, { query }) => {
    if (!data.count) return empty(root);
    const chart = wer.overviewChart(data, query);
    let below = [latest(data)];
    const now = el("div", {});
    const stop = wer.now.show(now);
    const about = [tiles(data), noise(data), now, wer.openRegressions(data)];
    wer.replace(root, headline(data), trailing(data), chart.card, about, below);
    chart.start();
    const refresh = () =>
      wer.views.safely(root, () => {
        const fresh = latest(data);
        below[0].replaceWith(fresh);
        below = [fresh];
      });
    document.addEventListener("wer:merges", refresh);
    return () => {
      stop();
      document.removeEventListener("wer:merges", refresh);
      chart.destroy();
    };
  };

  wer.views.add({ name: "overview", title: "Overview", place: 1, draw });
})();
