// Is B really worse than A, and is it the code? Any two runs: `#/compare/A/B`; without them, the newest and the one before.
(() => {
  "use strict";
  const { el, format, heard } = wer;
  const MERGES = 30;
  const PARAMETERS = 20; // more are folded
  const UTTERANCES = 3;
  const WORDS = 12;
  const SUGGESTED = 60; // runs in the list of each field

  /**
   * The place of the run that a visitor names by id, digits of its commit or number; null if there is none or several.
   * @param {Data} data
   * @param {string} name
   */
  const find = (data, name) => {
    const text = name.trim();
    if (data.places.has(text)) return data.places.get(text) ?? null;
    const number = /^№?\s*(\d{1,6})$/.exec(text);
    const sha = text.toLowerCase().slice(0, 12);
    const hits = data.shas.flatMap((other, i) => (sha.length >= 4 && other.startsWith(sha) ? [i] : []));
    if (hits.length) return new Set(hits.map((i) => data.shas[i])).size === 1 ? hits[hits.length - 1] : null;
    const at = number ? data.ordinals.lastIndexOf(Number(number[1])) : -1;
    return at < 0 ? null : at;
  };

  /**
   * The newest measured run, and the last one before it of the same test set.
   * @param {Data} data
   */
  const newest = (data) => {
    const last = data.test.findLastIndex((rate) => rate !== null);
    const before = data.test.findLastIndex(
      (rate, i) => i < last && rate !== null && data.signatures[i] === data.signatures[last],
    );
    return before < 0 ? null : [before, last];
  };

  /** @param {Data} data @param {number} i */
  const nameOf = (data, i) => wer.shortSha(data, i) || data.ids[i];

  /** @param {Data} data @param {string} label @param {string} id @param {number | null} i */
  const field = (data, label, id, i) =>
    el(
      "label",
      { class: "pick", for: id },
      el("span", {}, label),
      el("input", {
        id,
        type: "text",
        list: "runs-known",
        value: i === null ? "" : nameOf(data, i),
        autocomplete: "off",
        spellcheck: "false",
      }),
    );

  /** @param {Data} data */
  const suggestions = (data) =>
    el(
      "datalist",
      { id: "runs-known" },
      Array.from({ length: Math.min(SUGGESTED, data.count) }, (_, k) => data.count - 1 - k).map((i) =>
        el("option", { value: nameOf(data, i) }, `№ ${data.ordinals[i]} ${wer.about(data, i).slice(0, 60)}`),
      ),
    );

  /**
   * The form in which visitors choose both runs.
   * @param {Data} data
   * @param {number | null} a
   * @param {number | null} b
   */
  const chooser = (data, a, b) => {
    const said = el("p", { class: "hint", role: "alert" });
    /** @param {SubmitEvent} event */
    const go = (event) => {
      event.preventDefault();
      const names = ["run-before", "run-after"].map(
        (id) => /** @type {HTMLInputElement} */ (document.getElementById(id)).value,
      );
      const places = names.map((name) => find(data, name));
      const lost = places.findIndex((place) => place === null);
      const [from, to] = places;
      said.textContent =
        lost < 0
          ? ""
          : `No run, or several, are called “${names[lost].slice(0, 40)}”: give an id, eight digits of its commit, or its number.`;
      if (from !== null && to !== null) location.hash = wer.compareHref(data.ids[from], data.ids[to]);
    };
    return el(
      "form",
      { class: "controls", onsubmit: go },
      field(data, "Before", "run-before", a),
      field(data, "After", "run-after", b),
      el("button", { type: "submit", class: "button" }, "Compare"),
      a !== null && b !== null && el("a", { class: "swap", href: wer.compareHref(data.ids[b], data.ids[a]) }, "⇄ swap"),
      suggestions(data),
      said,
    );
  };

  /** @param {Data} data @param {number} i */
  const side = (data, i) => [
    wer.runLink(data, i),
    " ",
    wer.bdi(wer.about(data, i)),
    el("span", { class: "muted" }, ` · ${format.minute(data.started[i])} UTC`),
  ];

  /** @type {Record<string, Direction>} */
  const STATES = {
    "within noise": "noise",
    worse: "worse",
    better: "better",
    recovered: "better",
    suspect: "suspect",
    "no change seen": "noise",
  };

  /** @param {Figures | undefined} set */
  const between = (set) => (set?.interval ? ` ±${format.number(50 * (set.interval.high - set.interval.low))}` : "");

  /** @type {Record<string, string>} */
  const PLAIN = {
    "within noise": "≈ within noise",
    "more than noise gives": "more than noise gives",
    "not comparable": "not comparable",
  };

  /** @param {PairRow} row */
  const changeCell = (row) => {
    const plain = wer.own(PLAIN, row.state);
    return el(
      "span",
      { class: "state" },
      wer.change(row.change, wer.own(STATES, row.state)),
      plain ? el("span", { class: "chip" }, plain) : el("span", { class: "muted" }, row.state),
    );
  };

  /** @type {TableColumn<PairRow>[]} */
  const COLUMNS = [
    { title: "Set", class: "breaks", cell: ({ label }) => wer.bdi(label) },
    {
      title: "Before",
      class: "number",
      cell: (row) => [format.percent(row.before), el("span", { class: "wide muted" }, between(row.sets?.[0]))],
    },
    {
      title: "After",
      class: "number",
      cell: (row) => [format.percent(row.after), el("span", { class: "wide muted" }, between(row.sets?.[1]))],
    },
    { title: "Change", class: "number", cell: changeCell },
  ];

  /** @param {Parameter[]} changed */
  const parameterTable = (changed) =>
    wer.table(
      "Parameters that differ",
      [
        { title: "Parameter", class: "mono breaks", cell: ({ name }) => wer.bdi(name) },
        { title: "Before", class: "mono breaks", cell: ({ was }) => wer.bdi(was) },
        { title: "After", class: "mono breaks", cell: ({ is }) => wer.bdi(is) },
      ],
      changed,
    );

  /** @param {Parameter[]} changed */
  const parameters = (changed) =>
    wer.card(
      "Parameters that differ",
      {},
      changed.length <= PARAMETERS
        ? changed.length > 0
          ? parameterTable(changed)
          : el("p", { class: "muted" }, "none")
        : el("details", {}, el("summary", {}, `${format.count(changed.length)} parameters`), parameterTable(changed)),
    );

  /** @param {Data} data @param {number[]} list */
  const merges = (data, list) => {
    if (!list.length) return null;
    const shown = list.slice(-MERGES).reverse();
    return wer.card(
      `Merges between (${format.count(list.length)})`,
      {},
      wer.table("Merges between", wer.runColumns(data, "run", "started", "subject", "test", "verdict"), shown),
      list.length > shown.length &&
        el("p", { class: "hint" }, `and ${format.count(list.length - shown.length)} before these`),
    );
  };

  /** @param {Data} data @param {number} a @param {number} b @param {Pair} found */
  const facts = (data, a, b, found) =>
    el(
      "section",
      { class: "card" },
      wer.table("Word error rates", COLUMNS, found.rows),
      found.sentence
        ? el("p", { class: "below" }, wer.bdi(format.prose(found.sentence)))
        : el(
            "p",
            { class: "below" },
            "The tracker judged no step between just these two. What follows are counts, and what noise would give.",
          ),
      (found.sentence ? found.noise.slice(0, 1) : found.noise).map((line) =>
        el("p", { class: "below" }, wer.bdi(format.prose(line))),
      ),
      found.sentence &&
        el(
          "p",
          { class: "hint" },
          "A paired test says that two models differ on these recordings, never that a merge did it.",
        ),
    );

  /** @param {Data} data @param {ComparedWords} view @param {string} name @param {string} title */
  const examples = (data, view, name, title) => {
    const rows = heard.list(view.rows, name);
    if (!rows.length) return wer.card(title, {}, el("p", { class: "muted" }, "none"));
    const list = el("ol", { class: "utterances" });
    const shown = rows.slice(0, UTTERANCES);
    wer.loadTexts(
      view.run.said,
      shown.map(({ place }) => place),
      (texts) =>
        wer.replace(
          list,
          shown.map((row, k) => wer.utterance(data, { ...view, row, text: texts[k], labels: ["before", "after"] })),
        ),
    );
    const query = new URLSearchParams({ set: view.run.name, list: name });
    const href = `${wer.utterancesHref(view.after, view.before)}?${query}`;
    return wer.card(
      `${title} (${format.count(rows.length)})`,
      {},
      list,
      el("p", { class: "below" }, el("a", { href }, `All ${format.count(rows.length)}`)),
    );
  };

  /** @param {ComparedWords} view */
  const changedWords = (view) =>
    Object.values(heard.words(view.rows, view.run, view.against))
      .flat()
      .filter(({ count, before }) => count !== before)
      .sort((x, y) => Math.abs(y.count - (y.before ?? 0)) - Math.abs(x.count - (x.before ?? 0)))
      .slice(0, WORDS);

  /** @param {Data} data @param {ComparedWords} view */
  const wordsOf = (data, view) => [
    el(
      "h2",
      { class: "between" },
      "Words and utterances",
      el("span", { class: "muted" }, ", set ", wer.bdi(view.run.name)),
    ),
    wer.alignmentKey(),
    el(
      "div",
      { class: "columns" },
      examples(data, view, "worse", "Got worse"),
      examples(data, view, "better", "Got better"),
    ),
    wer.wordTables(heard.words(view.rows, view.run, view.against), true),
  ];

  /** @param {Detail | null} before @param {Detail | null} after */
  const noWords = (before, after) => {
    const lacking = [before, after].some((detail) => !detail?.heard?.is_shown);
    return wer.notice(
      "No words to compare",
      lacking ? "One of the runs has no utterances that the page can show." : "The utterances could not be read.",
    );
  };

  /**
   * @param {Data} data
   * @param {number} a
   * @param {number} b
   * @param {Details} details
   * @param {ComparedWords | null} words
   */
  const body = (data, a, b, details, words) => {
    const [before, after] = details;
    const found = wer.pair.of(data, a, b, before, after);
    const text = () => wer.pair.markdown(data, a, b, found, words ? changedWords(words) : []);
    return [
      el("div", { class: "title-row" }, el("h1", {}, "Compare"), wer.copyButton("Copy as Markdown", text)),
      chooser(data, a, b),
      el("p", { class: "lead" }, side(data, a), el("br"), "→ ", side(data, b)),
      el(
        "ul",
        { class: "doubts" },
        found.doubts.map((line) => el("li", {}, wer.bdi(line))),
      ),
      facts(data, a, b, found),
      parameters(found.parameters),
      merges(data, found.merges),
      words ? wordsOf(data, words) : noWords(...details),
    ];
  };

  /**
   * @param {Data} data
   * @param {number} a
   * @param {number} b
   * @param {HeardSet[] | null} mine
   * @param {HeardSet[] | null} theirs
   */
  const shared = (data, a, b, mine, theirs) => {
    if (!mine || !theirs) return null;
    const run = mine.find(({ name }) => theirs.some((other) => other.name === name));
    const against = run && theirs.find(({ name }) => name === run.name);
    if (!run || !against) return null;
    return { run, against, before: data.ids[a], after: data.ids[b], rows: heard.utterances(run, against) };
  };

  /**
   * @param {Data} data
   * @param {number} a
   * @param {number} b
   * @param {(details: Details, words: ComparedWords | null) => void} done
   */
  const load = (data, a, b, done) =>
    wer.loadRun(data.ids[a], (before) =>
      wer.loadRun(data.ids[b], (after) => {
        if (!before?.heard?.is_shown || !after?.heard?.is_shown) return done([before, after], null);
        return wer.loadHeard(data.ids[a], (theirs) =>
          wer.loadHeard(data.ids[b], (mine) => done([before, after], shared(data, a, b, mine, theirs))),
        );
      }),
    );

  /** @param {HTMLElement} root @param {Data} data @param {string} text */
  const ask = (root, data, text) =>
    wer.replace(root, wer.heading("Compare", text), el("section", { class: "card" }, chooser(data, null, null)));

  /** @param {HTMLElement} root @param {Data} data @param {Route} route */
  const draw = (root, data, { rest }) => {
    const chosen = rest.length >= 2 ? rest.map((name) => data.places.get(name)) : newest(data);
    if (!chosen || chosen[0] === undefined || chosen[1] === undefined) {
      ask(
        root,
        data,
        rest.length ? "There is no such run. Choose two:" : data.count ? "Choose two runs:" : "No runs yet.",
      );
      return null;
    }
    const [a, b] = chosen;
    let current = true;
    /** @type {[details: Details, words: ComparedWords | null]} */
    let shown = [[null, null], null];
    const show = () => current && wer.views.safely(root, () => wer.replace(root, body(data, a, b, ...shown)));
    wer.replace(root, wer.heading("Compare"), el("p", { class: "muted", role: "status" }, "Reading both runs …"));
    load(data, a, b, (...loaded) => {
      shown = loaded;
      show();
      document.addEventListener("wer:merges", show);
    });
    return () => {
      current = false;
      document.removeEventListener("wer:merges", show);
    };
  };

  wer.views.add({ name: "compare", title: "Compare", place: 3, draw });
})();
