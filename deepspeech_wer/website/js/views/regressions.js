// What is still broken, since when, by whom, and how sure is that?
(() => {
  "use strict";
  const { el, format } = wer;
  const DRAWN = "id start culprits step_pp interval_pp state closed_by retrained trained why accepted blame range_url";
  const KNOWN = new Set(`${DRAWN} gaps test_set sets`.split(" ")); // drawn below; what else an event has is listed as it is

  /** @param {Data} data @param {string} sha */
  const placeOf = (data, sha) => data.shas.indexOf(sha.slice(0, 12));

  /** @param {Data} data @param {string} sha */
  const merge = (data, sha) => {
    const i = placeOf(data, sha);
    if (i < 0) return el("span", { class: "mono" }, sha.slice(0, 8));
    return [wer.runLink(data, i), " ", wer.bdi(wer.about(data, i), { title: wer.subject(data, i) })];
  };

  /** @param {string} text */
  const outside = (text) => (/^https?:\/\//.test(text) ? wer.outside(text, wer.bdi(text)) : wer.bdi(text));

  /**
   * A value of any shape, as text or as a list.
   * @param {any} value
   * @returns {Child}
   */
  const plain = (value) => {
    if (Array.isArray(value)) return el("ul", { class: "plain" }, value.map((one) => el("li", {}, plain(one))));
    if (isEmpty(value)) return "–";
    if (typeof value === "object")
      return Object.entries(value).map(([name, one]) => [el("span", { class: "muted" }, `${name} `), plain(one), " "]);
    return outside(String(value));
  };

  /** @param {any} value */
  const isEmpty = (value) => value === null || value === "" || (typeof value === "object" && !Object.keys(value).length);

  /** @param {Evidence} full */
  const more = (full) =>
    Object.entries(full)
      .filter(([name, value]) => !KNOWN.has(name) && !isEmpty(value))
      .map(([name, value]) => [
        el("dt", {}, name.slice(0, 1).toUpperCase() + name.slice(1).replaceAll("_", " ")),
        el("dd", {}, plain(value)),
      ]);

  /**
   * An address of others, if it is one of the web.
   * @param {unknown} url
   */
  const web = (url) => (typeof url === "string" && /^https?:\/\//.test(url) ? url : null);

  /**
   * What the tracker knows of a merge that may have done it; {} where it tells nothing.
   * @param {Evidence} full
   * @param {string} sha
   */
  const blameOf = (full, sha) => full.blame?.find((one) => one.sha === sha) ?? {};

  /**
   * The pull or merge request, unless the `text` beside it names it already.
   * @param {Blame} blame
   * @param {string} text
   */
  const request = ({ request: name, request_url: url }, text) =>
    name && !text.startsWith(`${name} `) ? [" · ", wer.outside(web(url), wer.bdi(String(name)))] : null;

  /**
   * What stands beside a merge's commit; "" for one without a run.
   * @param {Data} data
   * @param {string} sha
   */
  const aboutSha = (data, sha) => {
    const i = placeOf(data, sha);
    return i < 0 ? "" : wer.about(data, i);
  };

  /** @param {Data} data @param {Evidence} full @param {[sha: string, likely: number]} culprit */
  const suspect = (data, full, [sha, likely]) => {
    const known = blameOf(full, sha);
    const link = placeOf(data, sha) < 0 && web(known.url);
    return el(
      "li",
      {},
      link ? wer.outside(link, el("span", { class: "mono" }, sha.slice(0, 8))) : merge(data, sha),
      request(known, link ? "" : aboutSha(data, sha)),
      known.run === null && " · never trained",
      ` · ${Math.round(100 * likely)} %`,
    );
  };

  /** @param {Data} data @param {Evidence} full */
  const range = (data, full) => {
    const others = full.culprits.filter(([sha]) => sha !== full.start);
    if (!others.length) return null;
    const list = others.map((one) => suspect(data, full, one));
    return [el("dt", {}, "It may also be"), el("dd", {}, el("ul", { class: "plain" }, list))];
  };

  /**
   * The files that the merge changed, the most changed first as the tracker lists them.
   * @param {Blame} blame
   */
  const files = ({ files: list, files_count: count }) => {
    if (!Array.isArray(list) || !list.length) return null;
    const shown = list.filter(Array.isArray).map(([path, added, removed]) =>
      el("li", {}, wer.bdi(String(path), { class: "mono" }), el("span", { class: "muted" }, ` +${added ?? "?"} −${removed ?? "?"}`)),
    );
    const title = format.plural(count ?? list.length, "file", "files");
    return [
      el("dt", {}, "Files changed"),
      el("dd", {}, el("details", {}, el("summary", {}, title), el("ul", { class: "plain" }, shown))),
    ];
  };

  /** @param {Evidence} full */
  const chance = (full) => {
    const [, found] = full.culprits.find(([sha]) => sha === full.start) ?? [];
    return found === undefined ? "" : ` · ${Math.round(100 * found)} % likely`;
  };

  /** @param {Data} data @param {number} i */
  const changed = (data, i) => {
    const before = wer.before(data, i);
    const names = before === null ? [] : wer.changedParameters(data, before, i);
    if (!names.length) return null;
    return [el("dt", {}, "Parameters changed"), el("dd", {}, wer.parameterList(names))];
  };

  /** @param {Data} data @param {Evidence} full @param {number} i */
  const links = (data, full, i) => {
    const before = i < 1 ? null : data.shas[i - 1];
    const commit = web(blameOf(full, full.start).url) ?? wer.commitUrl(data.project, full.start);
    const compared = web(full.range_url) ?? (before && wer.compareUrl(data.project, before, full.start));
    const good = wer.before(data, i);
    const known = blameOf(full, full.start);
    const isNamed = known.request && !request(known, aboutSha(data, full.start));
    const found = [
      good !== null && el("a", { href: wer.compareHref(data.ids[good], data.ids[i]) }, "words that changed"),
      commit && wer.outside(commit, "commit"),
      isNamed && web(known.request_url) && wer.outside(web(known.request_url), wer.bdi(String(known.request))),
      compared && wer.outside(compared, "all changes since the run before"),
    ].filter(Boolean);
    if (!found.length) return null;
    return [el("dt", {}, "Links"), el("dd", {}, found.map((link, k) => [k > 0 && " · ", link]))];
  };

  /** @param {Data} data @param {Step} event @param {Evidence} full */
  const ended = (data, event, full) => {
    const found = [];
    if (event.state === "recovered" && full.closed_by)
      found.push(el("dt", {}, "Recovered by"), el("dd", {}, merge(data, full.closed_by)));
    const { why } = full; // of one that had recovered before, it changes nothing
    if (why)
      found.push(
        el("dt", {}, "Accepted"),
        el("dd", {}, wer.bdi(why.why || "no reason given"), " · ", wer.bdi(why.who), ` · ${why.at.slice(0, 10)}`),
      );
    return found;
  };

  /** @param {Data} data @param {Training} training @param {boolean} isFirst */
  const result = (data, [id, rate, failure], isFirst) => {
    const text = rate === null ? `✕ ${failure ?? "no WER"}` : format.percent(rate);
    return data.places.has(id) && isFirst ? el("a", { href: wer.runHref(id) }, wer.bdi(text)) : wer.bdi(text);
  };

  /**
   * What the verdict rests on: each merge's own result, and those of its re-trainings apart.
   * @param {Data} data
   * @param {Evidence} full
   */
  const evidence = (data, full) => {
    if (!full.trained?.length) return null;
    /** @type {TableColumn<Evidence["trained"][0]>[]} */
    const columns = [
      { title: "Merge", cell: ({ sha }) => merge(data, sha) },
      { title: "Its result", class: "number", cell: ({ runs }) => result(data, runs[0], true) },
      {
        title: "Trained again with other seeds",
        cell: ({ runs }) =>
          runs.length < 2
            ? el("span", { class: "muted" }, "not trained again")
            : [
                el("span", { class: "muted" }, `${format.plural(runs.length - 1, "time", "times")}: `),
                runs.slice(1).map((run, k) => [k > 0 && ", ", result(data, run, false)]),
              ],
      },
    ];
    return el("div", { class: "evidence" }, wer.table(`Trainings that ${full.id} rests on`, columns, full.trained));
  };

  /** @param {unknown} sets */
  const isSets = (sets) => typeof sets === "object" && sets !== null && Object.keys(sets).length > 0;
  /** @param {string} name */
  const setName = (name) => (name === "test_wer" ? "test" : name); // as sets.py calls the main one

  /**
   * What the merge did on each of several test sets, and which of them shows it.
   * @param {Evidence} full
   */
  const testSets = ({ sets, test_set: shownBy }) => {
    if (!sets || !isSets(sets)) return shownBy ? [el("dt", {}, "Test set"), el("dd", {}, wer.bdi(String(shownBy)))] : null;
    const rows = Object.entries(sets).filter(([, one]) => Number.isFinite(one?.step_pp) && Array.isArray(one.interval_pp));
    /** @param {[string, SetEffect]} entry */
    const line = ([name, { step_pp: step, interval_pp: interval, state }]) =>
      el("li", {}, wer.bdi(setName(name)), ` ${wer.stepText({ step, interval })} `, wer.verdict(String(state)));
    return [el("dt", {}, "Test sets"), el("dd", {}, el("ul", { class: "plain" }, rows.map(line)))];
  };

  /** @param {Data} data @param {Step} event @param {Evidence} full */
  const facts = (data, event, full) => {
    const i = event.at;
    const known = blameOf(full, full.start);
    const author = known.author ?? (i !== null && data.authors?.[i]);
    return el(
      "dl",
      { class: "pairs text-pairs" },
      el("dt", {}, event.state === "suspect" ? "Suspect" : "Culprit"),
      el("dd", {}, merge(data, full.start), request(known, aboutSha(data, full.start)), chance(full)),
      author && [el("dt", {}, "Author"), el("dd", {}, wer.bdi(author))],
      range(data, full),
      testSets(full),
      i !== null && changed(data, i),
      files(known),
      ended(data, event, full),
      more(full),
      i !== null && links(data, full, i),
    );
  };

  /** @param {Data} data @param {Step} event */
  const card = (data, event) => {
    const full = data.evidence?.get(event.id);
    const date = event.at === null ? "" : format.date(data.started[event.at]);
    return el(
      "section",
      { class: "card regression", id: `event-${event.id}` },
      el(
        "div",
        { class: "card-head" },
        wer.verdict(event.state),
        el("h2", {}, el("a", { href: wer.regressionHref(event.id) }, wer.stepText(event))),
        el("span", { class: "grow" }),
        el("span", { class: "muted" }, date),
      ),
      event.at !== null && wer.spark(data, event.at, `Test WER before and after ${wer.shortSha(data, event.at)}`),
      full ? [facts(data, event, full), evidence(data, full)] : el("p", { class: "muted" }, "Reading the evidence …"),
    );
  };

  const ORDER = ["open", "suspect", "cannot tell", "accepted", "recovered", "dismissed"];
  /** @param {Step} event */
  const rank = ({ state }) => (ORDER.includes(state) ? ORDER.indexOf(state) : ORDER.length);

  /** @param {Data} data */
  const list = (data) => {
    const events = data.events.map((event, k) => ({ event, k }));
    events.sort((a, b) => rank(a.event) - rank(b.event) || b.k - a.k);
    const dismissed = events.filter(({ event }) => event.state === "dismissed");
    return [
      events.filter(({ event }) => event.state !== "dismissed").map(({ event }) => card(data, event)),
      dismissed.length > 0 &&
        el(
          "details",
          { class: "card" },
          el("summary", {}, `${format.plural(dismissed.length, "suspicion", "suspicions")} dismissed: it was noise`),
          dismissed.map(({ event }) => card(data, event)),
        ),
    ];
  };

  /** @param {Data} data @param {string} state */
  const count = (data, state) => data.events.filter((event) => event.state === state).length;

  /** @param {Data} data */
  const all = (data) => {
    const about = `${count(data, "open")} open, ${count(data, "accepted")} accepted, ${count(data, "recovered")} recovered.`;
    return [
      wer.heading("Regressions", about, " A merge is called worse only where new trainings with other seeds agree."),
      data.events.length
        ? list(data)
        : wer.notice("No regression", "No merge so far made the word error rate worse beyond what noise does."),
    ];
  };

  /** @param {Data} data @param {Step} event */
  const one = (data, event) => [
    el("p", { class: "back" }, el("a", { href: "#/regressions" }, "‹ all regressions")),
    el("h1", {}, `Regression of ${event.at === null ? "an unknown date" : format.date(data.started[event.at])}`),
    card(data, event),
  ];

  /** @param {string} id */
  const none = (id) =>
    wer.message(
      "No such regression",
      `There is no regression “${id.slice(0, 60)}”.`,
      el("p", {}, el("a", { href: "#/regressions" }, "All regressions")),
    );

  /** @param {HTMLElement} root @param {Data} data @param {Route} route */
  const draw = (root, data, { rest }) => {
    const id = rest.join("/");
    const event = data.events.find((candidate) => candidate.id === id);
    const content = () => (event ? one(data, event) : id ? none(id) : all(data));
    const show = () => wer.views.safely(root, () => wer.replace(root, content()));
    show();
    document.addEventListener("wer:merges", show);
    return () => document.removeEventListener("wer:merges", show);
  };

  wer.views.add({ name: "regressions", title: "Regressions", place: 2, draw });
})();
