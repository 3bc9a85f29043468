// What did this merge do? The view draws what the columns hold at once, and the rest when runs/<id>.js arrives.
(() => {
  "use strict";
  const { el, format } = wer;

  /** @param {string} name @param {any} given */
  const value = (name, given) => (typeof given === "number" && /bytes$/.test(name) ? format.bytes(given) : given);

  /** @param {Detail["results"]} list */
  const pairs = (list) =>
    el(
      "dl",
      { class: "pairs" },
      list.map(([name, given]) => [
        el("dt", { class: "mono" }, wer.bdi(name)),
        el("dd", { class: "mono" }, wer.bdi(format.rounded(value(name, given)))),
      ]),
    );

  /** @param {string} label @param {Data} data @param {LineKey} column @param {number} i @param {...Child} notes */
  const rate = (label, data, column, i, ...notes) => {
    const measured = data[column][i];
    return measured === null
      ? wer.tile(label, format.none, "", "not measured")
      : wer.tile(label, format.number(measured), "%", ...notes);
  };

  /** @param {Data} data @param {number} i */
  const attempt = (data, i) => (data.attempts[i] > 1 ? `${format.nth(data.attempts[i])} attempt` : "at the first attempt");

  /** @param {Data} data @param {number} i */
  const tiles = (data, i) => {
    const changes = wer.changeNotes(data, i);
    return el(
      "div",
      { class: "tiles" },
      wer.failed(data, i)
        ? wer.tile("Result", "failed", "", wer.bdi(data.status[i]))
        : rate("Test WER", data, "test", i, ...changes, format.errors(data, i)),
      rate("Validation WER", data, "validation", i),
      rate("Train WER", data, "train", i),
      wer.tile("Took", format.duration(data.took[i]), "", attempt(data, i)),
    );
  };

  /** @param {Data} data @param {number} i */
  const lastGood = (data, i) => {
    let before = i - 1;
    while (before >= 0 && wer.failed(data, before)) before--;
    return before < 0 ? null : before;
  };

  /**
   * The last good run, what was merged since, and who to ask.
   * @param {Data} data
   * @param {number} i
   */
  const since = (data, i) => {
    const good = lastGood(data, i);
    if (good === null) return el("p", {}, "No run before it was good.");
    const merged = Array.from({ length: i - good }, (_, k) => good + 1 + k);
    return [
      el("p", {}, "The last good run is ", wer.runLink(data, good), ` of ${format.date(data.started[good])}. Merged since:`),
      el(
        "ul",
        { class: "plain" },
        merged.slice(-20).map((k) => el("li", {}, wer.runLink(data, k), " ", wer.bdi(wer.about(data, k)))),
      ),
    ];
  };

  /** @param {Data} data @param {number} i @param {Detail | null} detail */
  const failure = (data, i, detail) =>
    wer.failed(data, i) &&
    el(
      "section",
      { class: "card failure" },
      el("h2", {}, "Why it failed"),
      el(
        "p",
        {},
        el("span", { class: "chip chip-failed" }, wer.bdi(data.status[i])),
        " ",
        wer.bdi(detail?.detail || data.details.get(i) || ""),
      ),
      since(data, i),
    );

  /** @param {Data} data @param {number} i */
  const verdict = (data, i) => {
    const state = data.verdicts?.[i];
    if (!state) return null;
    const event = data.events.find(({ at }) => at === i);
    return el(
      "p",
      { class: "lead" },
      wer.verdict(state),
      " ",
      wer.bdi(format.prose(data.reasons?.[i] ?? "")),
      event && [" · ", el("a", { href: wer.regressionHref(event.id) }, "the evidence")],
    );
  };

  /** @param {Data} data @param {number} i */
  const changed = (data, i) => {
    const before = wer.before(data, i);
    if (before === null || wer.failed(data, i)) return null;
    const names = wer.changedParameters(data, before, i);
    return wer.card(
      "What changed",
      {},
      el("p", { class: "hint" }, "Parameters that differ from ", wer.runLink(data, before), ", the run before:"),
      names.length ? wer.parameterList(names) : el("p", {}, "none"),
    );
  };

  /** @param {string} title @param {Detail["results"]} list */
  const folded = (title, list) =>
    list.length > 0 && el("details", { class: "card" }, el("summary", {}, title), pairs(list));

  /**
   * A result as people write it: 40.93 %, 4 h 31 min, 52,576.
   * @param {string} name
   * @param {any} given
   */
  const result = (name, given) => {
    if (typeof given !== "number") return given;
    if (isWords(name)) return format.percent(100 * given);
    if (name === "duration" && given >= 0) return format.duration(given);
    return Number.isInteger(given) && Math.abs(given) >= 1e4 && !/bytes$/.test(name) ? format.count(given) : given;
  };

  /** @param {string} name */
  const isWords = (name) => /(wer|cer)$/.test(name);
  const LABELS = ["train", "validation", "test"];

  /**
   * @param {EpochTable} table
   * @param {string} title
   * @param {(name: string) => boolean} matches
   * @param {boolean} percent
   */
  const curve = (table, title, matches, percent) => {
    const steps = table.names.indexOf("epoch");
    const xs = table.rows.map((row, k) => (steps < 0 ? k + 1 : (row[steps] ?? k + 1)));
    /** @param {number | null} y */
    const scaled = (y) => (y === null ? null : y * (percent ? 100 : 1));
    const series = table.names.flatMap((name, k) => {
      if (!matches(name)) return [];
      const label = LABELS.find((known) => name.split("_")[0] === known) ?? name;
      return [{ label, ys: table.rows.map((row) => scaled(row[k])) }];
    });
    return wer.curves(title, { xs, series, unit: percent ? " %" : "", describe: (x) => `epoch ${x}` });
  };

  /** @param {EpochTable} table */
  const epochTable = (table) => {
    /** @type {TableColumn<(number | null)[]>[]} */
    const columns = table.names.map((name, k) => ({
      title: name,
      class: "number",
      cell: (row) => (row[k] === null ? format.none : format.rounded(row[k])),
    }));
    return el("details", {}, el("summary", {}, "as a table"), wer.table("Epochs", columns, table.rows));
  };

  /** @param {Detail["epochs"]} table */
  const learning = (table) => {
    if (!table) return null;
    const charts = [
      curve(table, "Loss by epoch", (name) => /loss$/.test(name), false),
      curve(table, "Word error rate by epoch", (name) => /wer$/.test(name), true),
    ].filter(Boolean);
    return wer.card("Learning curves", { class: "epochs" }, el("div", { class: "columns" }, charts), epochTable(table));
  };

  /** @param {Detail["results"]} list */
  const errorCounts = (list) => {
    const found = new Map(list);
    /** @param {string} name */
    const count = (name) => found.get(`test_errors.${name}`);
    const shown = ["substitutions", "deletions", "insertions"].filter((name) => typeof count(name) === "number");
    const cer = found.get("test_cer");
    if (!shown.length && typeof cer !== "number") return null;
    const words = count("words");
    const cells = shown.map((name) => ({ name, is: count(name) }));
    return wer.card(
      "Errors",
      {},
      cells.length > 0 &&
        wer.table(
          "Errors by kind",
          [
            { title: "Kind", cell: ({ name }) => name },
            { title: "Count", class: "number", cell: ({ is }) => format.count(is) },
            { title: "Of the words", class: "number", cell: ({ is }) => (words ? format.percent((100 * is) / words) : format.none) },
          ],
          cells,
        ),
      typeof cer === "number" && el("p", { class: "hint" }, `Character error rate (CER): ${format.percent(100 * cer)}`),
    );
  };

  /** @param {Log} log */
  const log = ({ name, text, bytes }) =>
    wer.card(
      `End of ${name}`,
      {},
      el("pre", { class: "log", tabindex: 0, role: "region", "aria-label": `End of ${name}` }, wer.bdi(text)),
      el("p", { class: "hint" }, `${format.bytes(bytes)} in all`),
    );

  /**
   * The logs; that of a failed run begins with what went wrong.
   * @param {Data} data
   * @param {number} i
   * @param {Log[]} list
   */
  const logs = (data, i, list) => {
    const shown = list.filter(({ text }) => text);
    /** @param {Log} log */
    const isErr = ({ name }) => name === "err.log";
    return (wer.failed(data, i) ? [...shown.filter(isErr), ...shown.filter((one) => !isErr(one))] : shown).map(log);
  };

  /** @param {string} id @param {Detail["files"]} list */
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
            el("a", { href: `runs/${wer.encode(id)}/${wer.encode(name)}` }, name),
            el("span", { class: "muted" }, ` ${format.bytes(bytes)}`),
          ),
        ),
      ),
    );

  /** @param {Data} data @param {number} i */
  const neighbours = (data, i) =>
    el(
      "nav",
      { class: "neighbours", "aria-label": "Neighbouring runs" },
      i > 0 && el("a", { href: wer.runHref(data.ids[i - 1]) }, "‹ earlier"),
      i + 1 < data.count && el("a", { href: wer.runHref(data.ids[i + 1]) }, "later ›"),
    );

  /** @param {Data} data @param {number} i @param {Detail | null} detail */
  const facts = (data, i, detail) => {
    const sha = detail?.sha || data.shas[i];
    const author = detail?.author || data.authors?.[i];
    const link = wer.commitUrl(data.project, sha);
    const pull = /^Merge pull request #(\d+) /.exec(detail?.subject || wer.subject(data, i));
    const pullUrl = pull && wer.pullUrl(data.project, pull[1]);
    return el(
      "p",
      { class: "facts" },
      `№ ${data.ordinals[i]} of the branch · commit `,
      wer.outside(link, el("span", { class: "mono" }, sha.slice(0, 12))),
      pullUrl && [" · ", wer.outside(pullUrl, `pull request #${pull[1]}`)],
      author && [" · ", wer.bdi(author)],
      ` · started ${format.exact(data.started[i])}`,
      detail?.machine && [" on ", wer.bdi(detail.machine)],
    );
  };

  /** @param {string} id @param {Detail["gpu"]} usage */
  const gpu = (id, usage) =>
    usage &&
    wer.card(
      "GPUs",
      {},
      wer.gpuCharts(usage),
      el("p", { class: "hint" }, el("a", { href: wer.gpuHref(id) }, "Beside the run before")),
    );

  /**
   * The details of a run that was read from js/hyper.js and may have no runs/<id>.js.
   * @param {HyperRecord} record
   * @returns {Detail}
   */
  const fromRecord = (record) => ({
    version: 1,
    id: "",
    sha: "",
    subject: "",
    author: "",
    machine: "",
    detail: "",
    parameters: [...wer.decode.flatten(record.parameters || {})],
    results: [...wer.decode.flatten(record.results || {})],
    epochs: null,
    gpu: null,
    logs: [],
    files: [],
  });

  /** @param {Data} data @param {number} i @param {Detail} detail */
  const details = (data, i, detail) => [
    wer.failed(data, i) && logs(data, i, detail.logs),
    el("div", { class: "columns" }, changed(data, i), errorCounts(detail.results)),
    wer.heardCard(data.ids[i], detail.heard),
    learning(detail.epochs),
    gpu(data.ids[i], detail.gpu),
    !wer.failed(data, i) && logs(data, i, detail.logs),
    folded(`All ${format.plural(detail.parameters.length, "parameter", "parameters")}`, detail.parameters),
    folded("All results", detail.results.map(([name, given]) => [name, result(name, given)])),
    files(data.ids[i], detail.files),
  ];

  /** @param {Data} data @param {number} i @param {Detail | null} detail @param {boolean} missing */
  const body = (data, i, detail, missing) => [
    el(
      "div",
      { class: "title-row" },
      el("h1", {}, "Run ", el("span", { class: "mono" }, wer.shortSha(data, i) || wer.bdi(data.ids[i]))),
      neighbours(data, i),
    ),
    el("p", { class: "lead" }, wer.bdi(detail?.subject || wer.subject(data, i))),
    verdict(data, i),
    facts(data, i, detail),
    failure(data, i, detail),
    tiles(data, i),
    missing &&
      wer.notice(
        "No details",
        "The file with this run's parameters and logs could not be read. What the index knows stands above.",
      ),
    detail && details(data, i, detail),
  ];

  /** @param {string} id */
  const unknown = (id) =>
    wer.message(
      "No such run",
      `There is no run “${id.slice(0, 80)}”. It may have been tried again under another id.`,
      el("p", {}, el("a", { href: "#/runs" }, "All runs")),
    );

  /** @param {HTMLElement} root @param {Data} data @param {Route} route */
  const draw = (root, data, { rest }) => {
    const id = rest.join("/");
    const i = data.places.get(id);
    if (i === undefined) {
      wer.replace(root, unknown(id));
      return null;
    }
    document.title = `${wer.shortSha(data, i)} · ${data.project.name} WER`;
    let current = true;
    const record = data.records?.[i];
    /** @type {{ detail: Detail | null, missing: boolean }} */
    let shown = { detail: record ? fromRecord(record) : null, missing: false };
    /** @param {Detail | null} detail @param {boolean} missing */
    const show = (detail, missing) => {
      shown = { detail, missing };
      wer.views.safely(root, () => wer.replace(root, body(data, i, detail, missing)));
    };
    const refresh = () => show(shown.detail, shown.missing); // the reason of the verdict comes with the subjects
    refresh();
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
  };

  wer.views.add({ name: "run", title: "Run", draw });
})();
