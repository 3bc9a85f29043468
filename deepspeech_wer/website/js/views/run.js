// What did this merge do? The view draws what the columns hold at once, and the rest when runs/<id>.js arrives.
(() => {
  "use strict";
  const { el, format } = wer;

  const pairs = (list) =>
    el(
      "dl",
      { class: "pairs" },
      list.map(({ name, value, was }) => [
        el("dt", { class: "mono" }, name),
        el(
          "dd",
          { class: "mono" },
          format.value(value),
          was !== undefined && el("span", { class: "was" }, ` was ${was}`),
        ),
      ]),
    );

  const rate = (label, data, column, i, ...notes) => {
    const value = data[column][i];
    return value === null
      ? wer.tile(label, format.none, "", "not measured")
      : wer.tile(label, format.number(value), "%", ...notes);
  };

  const tiles = (data, i) => {
    const before = wer.previous(data, i);
    const change = before === null ? null : [wer.change(wer.delta(data, i)), " vs ", wer.runLink(data, before)];
    return el(
      "div",
      { class: "tiles" },
      wer.failed(data, i)
        ? wer.tile("Result", "failed", "", data.status[i])
        : rate("Test WER", data, "test", i, change, format.errors(data, i)),
      rate("Validation WER", data, "validation", i),
      rate("Train WER", data, "train", i),
      wer.tile("Took", format.duration(data.took[i]), "", `try ${data.attempts[i]}`),
    );
  };

  const failure = (data, i, detail) =>
    wer.failed(data, i) &&
    el(
      "section",
      { class: "card failure" },
      el("h2", {}, "Why it failed"),
      el(
        "p",
        {},
        el("span", { class: "chip chip-failed" }, data.status[i]),
        " ",
        detail?.detail || data.details.get(i) || "",
      ),
    );

  const previousValues = (data, i) => {
    let before = i - 1;
    while (before >= 0 && wer.failed(data, before)) before--;
    return before < 0
      ? null
      : new Map(data.parameters.map((column) => [column.name, column.values[column.codes[before]]]));
  };

  /** Changed parameters come first: they may explain the change of the WER. */
  const parameters = (data, i, list) => {
    if (!list.length) return null;
    const before = previousValues(data, i);
    const same = (name, value) => !before || !before.has(name) || String(before.get(name)) === String(value);
    const rows = list.map(([name, value]) => ({
      name,
      value,
      was: same(name, value) ? undefined : format.value(before.get(name)),
    }));
    const changed = rows.filter(({ was }) => was !== undefined);
    return wer.card(
      "Parameters",
      {},
      changed.length > 0 && el("p", { class: "hint" }, "Changed since the run before:"),
      changed.length > 0 && pairs(changed),
      changed.length > 0 && el("hr"),
      pairs(rows.filter(({ was }) => was === undefined)),
    );
  };

  const results = (list) =>
    list.length ? wer.card("Results", {}, pairs(list.map(([name, value]) => ({ name, value })))) : null;

  const epochs = (table) => {
    if (!table) return null;
    const columns = table.names.map((name, k) => ({
      title: name,
      class: "number",
      cell: (row) => (row[k] === null ? format.none : +row[k].toPrecision(5)),
    }));
    return wer.card("Epochs", { class: "epochs" }, wer.table("Epochs", columns, table.rows));
  };

  const logs = (list) =>
    list
      .filter(({ text }) => text)
      .map(({ name, text, bytes }) =>
        wer.card(
          `End of ${name}`,
          {},
          el("pre", { class: "log", tabindex: 0, role: "region", "aria-label": `End of ${name}` }, text),
          el("p", { class: "hint" }, `${format.bytes(bytes)} in all`),
        ),
      );

  const files = (id, list) =>
    list.length > 0 &&
    wer.card(
      "Files",
      {},
      el(
        "ul",
        { class: "files" },
        list.map(([name, bytes]) =>
          el(
            "li",
            {},
            el("a", { href: `runs/${encodeURIComponent(id)}/${encodeURIComponent(name)}` }, name),
            el("span", { class: "muted" }, ` ${format.bytes(bytes)}`),
          ),
        ),
      ),
    );

  const neighbours = (data, i) =>
    el(
      "nav",
      { class: "neighbours", "aria-label": "Neighbouring runs" },
      i > 0 && el("a", { href: wer.runHref(data.ids[i - 1]) }, "‹ earlier"),
      i + 1 < data.count && el("a", { href: wer.runHref(data.ids[i + 1]) }, "later ›"),
    );

  const lead = (data, i, detail) => {
    const sha = detail?.sha || data.shas[i];
    return [
      el("p", { class: "lead" }, detail?.subject || wer.subject(data, i)),
      data.verdicts?.[i] && el("p", { class: "lead" }, wer.verdict(data.verdicts[i]), " ", data.reasons?.[i] ?? ""),
      el(
        "p",
        { class: "facts" },
        `№ ${data.ordinals[i]} of the branch · `,
        wer.outside(wer.commitUrl(data.project, sha), el("span", { class: "mono" }, sha.slice(0, 12))),
        (detail?.author || data.authors?.[i]) && ` · ${detail?.author || data.authors[i]}`,
        ` · started ${format.exact(data.started[i])}`,
        detail?.machine && ` on ${detail.machine}`,
      ),
    ];
  };

  /** The details of a run that was read from js/hyper.js and may have no runs/<id>.js. */
  const fromRecord = (record) => ({
    parameters: [...wer.decode.flatten(record.parameters || {})],
    results: [...wer.decode.flatten(record.results || {})],
    epochs: null,
    logs: [],
    files: [],
  });

  const body = (data, i, detail, missing) => [
    el(
      "div",
      { class: "title-row" },
      el("h1", {}, "Run ", el("span", { class: "mono" }, data.shas[i].slice(0, 8) || data.ids[i])),
      neighbours(data, i),
    ),
    lead(data, i, detail),
    tiles(data, i),
    failure(data, i, detail),
    missing &&
      wer.notice(
        "No details",
        "The file with this run's parameters and logs could not be read. What the index knows stands above.",
      ),
    detail && [
      wer.failed(data, i) && logs(detail.logs),
      el("div", { class: "columns" }, parameters(data, i, detail.parameters), results(detail.results)),
      wer.heardCard(data.ids[i], detail.heard),
      epochs(detail.epochs),
      !wer.failed(data, i) && logs(detail.logs),
      files(data.ids[i], detail.files),
    ],
  ];

  wer.views.add({
    name: "run",
    title: "Run",
    draw: (root, data, { rest }) => {
      const id = rest.join("/");
      const i = data.places.get(id);
      if (i === undefined) {
        wer.replace(
          root,
          wer.message(
            "No such run",
            `There is no run “${id.slice(0, 80)}”. It may have been tried again under another id.`,
            el("p", {}, el("a", { href: "#/runs" }, "All runs")),
          ),
        );
        return null;
      }
      document.title = `${data.shas[i].slice(0, 8)} · ${data.project.name} WER`;
      let current = true;
      const record = data.records?.[i];
      let shown = [record ? fromRecord(record) : null, false];
      const show = (...what) => {
        shown = what;
        wer.replace(root, body(data, i, ...shown));
      };
      const refresh = () => show(...shown); // the reason of the verdict comes with the subjects
      show(...shown);
      document.addEventListener("wer:merges", refresh);
      if (!record || record.run) {
        wer.loadRun(id, (detail) => {
          if (current && (detail || !record)) show(detail, !detail);
        });
      }
      return () => {
        current = false;
        document.removeEventListener("wer:merges", refresh);
      };
    },
  });
})();
