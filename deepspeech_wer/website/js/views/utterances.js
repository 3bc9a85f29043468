// Which words, in which recordings? The utterances of a run, alone or against another: `#/utterances/RUN/against/OTHER`.
(() => {
  "use strict";
  const { el, format, heard, paging } = wer;
  const PAGE = 20;
  const SPEAKERS = 20;

  /** @param {URLSearchParams} query @param {boolean} isCompared */
  const stateOf = (query, isCompared) => {
    const lists = isCompared ? ["worse", "better", "wrong", "lasting"] : ["wrong", "lasting"];
    return {
      set: query.get("set") ?? "",
      list: lists.find((name) => name === query.get("list")) ?? lists[0],
      q: query.get("q") ?? "",
      page: paging.wanted(query),
    };
  };

  /** @param {string} id @param {string | null} other @param {UtterancesState} state @param {string} first */
  const address = (id, other, state, first) => {
    const query = new URLSearchParams();
    if (state.set) query.set("set", state.set);
    if (state.list !== first) query.set("list", state.list);
    if (state.q) query.set("q", state.q);
    if (state.page > 1) query.set("page", String(state.page));
    return `${wer.utterancesHref(id, other)}${String(query) ? `?${query}` : ""}`;
  };

  /**
   * What the tracker found to have changed for good, on one test set.
   * @param {Detail | null} detail
   * @param {string} name
   */
  const lastingOf = (detail, name) => detail?.heard?.against?.sets.find(({ set }) => set === name)?.lasting ?? null;

  /** @param {ShownUtterances} view @param {UtterancesState} state */
  const select = (view, state) => {
    const { rows, run, lasting } = view;
    const lasts = new Set(lasting ? [...lasting.worse_places, ...lasting.better_places] : []);
    const listed =
      state.list === "lasting" ? rows.filter(({ place }) => lasts.has(place)) : heard.list(rows, state.list);
    const words = state.q.trim().toLowerCase();
    if (!words) return listed;
    const texts = (/** @type {Utterance} */ { place }) =>
      `${run.said.ids[place]} ${run.said.names[run.said.speakers[place]] ?? ""} ${run.edits[place]}`;
    return listed.filter((row) => texts(row).toLowerCase().includes(words));
  };

  /** @param {ShownUtterances} view */
  const listNames = (view) => {
    const { wrong, worse, better } = heard.counts(view.rows);
    const lasting = view.lasting && view.lasting.worse + view.lasting.better;
    const pair = [
      ["worse", `got worse (${format.count(worse)})`],
      ["better", `got better (${format.count(better)})`],
    ];
    return [
      ...(view.against ? pair : []),
      ["wrong", `with errors (${format.count(wrong)})`],
      ...(lasting === null ? [] : [["lasting", `changed for good (${format.count(lasting)})`]]),
    ];
  };

  /** @param {ShownUtterances} view @param {UtterancesState} state */
  const about = (view, state) => {
    if (state.list !== "lasting" || !view.lasting) return null;
    const { newest, before, worse, better, worse_by_noise: up, better_by_noise: down } = view.lasting;
    return el(
      "p",
      { class: "hint" },
      `In these, each of the ${newest} newest trainings made more errors, or fewer, than each of the ${before} before: ` +
        `${format.count(worse)} worse and ${format.count(better)} better. If nothing had changed, about ${up} and ${down}.`,
    );
  };

  /**
   * @param {ShownUtterances} view
   * @param {UtterancesState} state
   * @param {(part: Partial<UtterancesState>) => void} change
   */
  const controls = (view, state, change) =>
    el(
      "div",
      { class: "controls" },
      view.names.length > 1 &&
        wer.choice(
          "Test set",
          view.names.map((name) => [name, name]),
          view.run.name,
          view.choose,
        ),
      wer.choice("Utterances", listNames(view), state.list, (list) => change({ list, page: 1 })),
      paging.searchField(state.q, "id, speaker, or a wrong word", (q) => change({ q, page: 1 })),
    );

  /**
   * The list with its pages. The texts of a page are loaded when it is shown.
   * @param {Data} data
   * @param {ShownUtterances} view
   * @param {UtterancesState} first
   */
  const listCard = (data, view, first) => {
    let state = first;
    const body = el("div", {});
    /** @param {boolean} focus */
    const show = (focus) => {
      const found = select(view, state);
      state.page = paging.within(state.page, found.length, PAGE);
      const rows = paging.slice(found, state.page, PAGE);
      const wanted = state;
      wer.loadTexts(
        view.run.said,
        rows.map(({ place }) => place),
        (texts) => {
          if (state !== wanted || !view.isCurrent()) return;
          wer.replace(
            body,
            about(view, state),
            el("p", { class: "hint", role: "status" }, format.plural(found.length, "utterance", "utterances")),
            el(
              "ol",
              { class: "utterances" },
              rows.map((row, k) => wer.utterance(data, { ...view, row, text: texts[k] })),
            ),
            paging.pager(state.page, found.length, PAGE, (page) => change({ page }, true)),
          );
          if (focus) body.querySelector("ol")?.setAttribute("tabindex", "-1");
          if (focus) body.querySelector("ol")?.focus();
        },
      );
    };
    /** @param {Partial<UtterancesState>} part @param {boolean} [focus] */
    const change = (part, focus = false) => {
      state = { ...state, ...part };
      wer.setAddress(address(view.id, view.other, state, view.against ? "worse" : "wrong"));
      show(focus);
    };
    show(false);
    return wer.card("Utterances", {}, controls(view, state, change), wer.alignmentKey(), body);
  };

  /** @param {Figures | undefined} set */
  const figures = (set) => {
    if (!set) return null;
    const { words, interval } = set;
    const parts = [`${format.count(words.substitutions)} substitutions`, `${format.count(words.deletions)} deletions`];
    parts.push(`${format.count(words.insertions)} insertions`, `${format.count(set.missing)} without a hypothesis`);
    const note =
      interval &&
      `95 % by ${interval.by}: ${format.number(100 * interval.low)} to ${format.number(100 * interval.high)}`;
    /** @param {number | null} value */
    const percent = (value) => (value === null ? format.none : format.number(100 * value));
    const errors = words.substitutions + words.deletions + words.insertions;
    return el(
      "div",
      { class: "tiles" },
      wer.tile(`WER, ${set.set}`, percent(set.wer), "%", note),
      wer.tile(
        "Errors",
        format.count(errors),
        "",
        `in ${format.count(words.reference)} words`,
        parts.slice(0, 3).join(", "),
      ),
      wer.tile("CER", percent(set.cer), "%"),
      wer.tile(
        "Utterances with an error",
        percent(set.sentence_error_rate),
        "%",
        `of ${format.count(set.utterances)}`,
        parts[3],
      ),
    );
  };

  /** @param {Data} data @param {ShownUtterances} view */
  const head = (data, view) => {
    const of = [wer.runLink(data, view.i), view.o !== null && [" against ", wer.runLink(data, view.o)]];
    const { against } = view.detail?.heard ?? {};
    const links = [
      view.other !== null && el("a", { href: wer.compareHref(view.other, view.id) }, "Compare these two runs"),
      !view.against && against && el("a", { href: wer.utterancesHref(view.id, against.run) }, "Against the run before"),
      view.against && el("a", { href: wer.utterancesHref(view.id, null) }, "This run alone"),
    ].filter(Boolean);
    return [
      wer.heading("Utterances", of),
      view.against && against?.run === view.other && el("p", { class: "facts" }, wer.bdi(format.prose(against.sentence))),
      el(
        "p",
        { class: "facts" },
        links.map((link, k) => [k > 0 && " · ", link]),
      ),
      wer.troubles(view.detail?.heard),
      figures(view.detail?.heard?.sets.find(({ set }) => set === view.run.name)),
    ];
  };

  /** @param {Data} data @param {ShownUtterances} view @param {UtterancesState} state */
  const body = (data, view, state) => {
    const words = heard.words(view.rows, view.run, view.against);
    return [
      head(data, view),
      listCard(data, view, state),
      el("h2", { class: "between" }, view.against ? "Words that changed most" : "Most frequent errors"),
      wer.wordTables(words, Boolean(view.against)),
      wer.sumsCards(view.rows, view.run.said, SPEAKERS),
    ];
  };

  /** @param {Data} data @param {number} i @param {Detail | null} detail */
  const none = (data, i, detail) => {
    const { trouble, is_shown: isShown, sets } = detail?.heard ?? {};
    const why = trouble
      ? `The tracker could not score them: ${trouble}`
      : sets?.length && !isShown
        ? "They are too many for the page; the run's utterances.json has them."
        : "This run has no utterances.json, or its file could not be read.";
    return wer.message("No utterances", why, el("p", {}, "Run ", wer.runLink(data, i)));
  };

  /**
   * @param {string} id
   * @param {string | null} other
   * @param {Detail | null} detail
   * @param {HeardSet[]} mine
   * @param {HeardSet[] | null} theirs
   * @param {UtterancesState} state
   */
  const viewOf = (id, other, detail, mine, theirs, state) => {
    const run = mine.find(({ name }) => name === state.set) ?? mine[0];
    const against = theirs?.find(({ name }) => name === run.name) ?? null;
    const labels = against ? ["before", "after"] : ["heard"];
    const rows = heard.utterances(run, against);
    const names = mine.map(({ name }) => name);
    return {
      id,
      other: against ? other : null,
      detail,
      run,
      against,
      labels,
      rows,
      names,
      lasting: lastingOf(detail, run.name),
    };
  };

  /** @param {string | null} name */
  const unknown = (name) =>
    wer.message(
      "No such run",
      `There is no run “${String(name ?? "").slice(0, 80)}”.`,
      el("p", {}, el("a", { href: "#/runs" }, "All runs")),
    );

  /** @param {Data} data @param {number} i */
  const reading = (data, i) => [
    wer.heading("Utterances", wer.runLink(data, i)),
    el("p", { class: "muted", role: "status" }, "Reading the utterances …"),
  ];

  /**
   * Loads what the view needs and calls `done` with the run's details, its errors, and the other's.
   * @param {string} id
   * @param {string | null} other
   * @param {HeardLoaded} done
   */
  const load = (id, other, done) =>
    wer.loadRun(id, (detail) =>
      wer.loadHeard(id, (mine) =>
        other === null ? done(detail, mine, null) : wer.loadHeard(other, (theirs) => done(detail, mine, theirs)),
      ),
    );

  /** @param {HTMLElement} root @param {Data} data @param {Route} route */
  const draw = (root, data, { rest, query }) => {
    const [id, word] = rest;
    const other = word === "against" ? rest[2] : null;
    const [i, o] = [data.places.get(id), other === null ? null : data.places.get(other)];
    if (i === undefined || o === undefined) {
      wer.replace(root, unknown(i === undefined ? id : other));
      return null;
    }
    let current = true;
    /**
     * @param {Detail | null} detail
     * @param {HeardSet[] | null} mine
     * @param {HeardSet[] | null} theirs
     * @param {UtterancesState} state
     */
    const show = (detail, mine, theirs, state) => {
      if (!mine?.length) return wer.replace(root, none(data, i, detail));
      const view = viewOf(id, other, detail, mine, theirs, state);
      /** @param {string} set */
      const choose = (set) => {
        const next = { ...stateOf(new URLSearchParams(), view.against !== null), set };
        wer.setAddress(address(id, view.other, next, next.list));
        show(detail, mine, theirs, next);
      };
      const list = view.against || state.list === "lasting" ? state.list : "wrong";
      const more = { i, o: view.against ? o : null, choose, isCurrent: () => current };
      return wer.replace(root, body(data, { ...view, ...more }, { ...state, list }));
    };
    wer.replace(root, reading(data, i));
    const start = stateOf(query, other !== null);
    load(id, other, (...loaded) => current && wer.views.safely(root, () => show(...loaded, start)));
    return () => {
      current = false;
    };
  };

  wer.views.add({ name: "utterances", title: "Utterances", draw });
})();
