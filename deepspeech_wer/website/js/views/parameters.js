// Which value of a hyper-parameter is best, how certain is that, and how many runs say so?
(() => {
  "use strict";
  const { el, format } = wer;

  /** @param {string} name */
  const href = (name) => `#/parameters/${wer.encode(name)}`;

  /** @param {string[]} names */
  const title = (names) => names.map((name, k) => [k ? " & " : "", wer.bdi(name, { class: "mono" })]);

  /** @param {Effect} effect */
  const count = ({ groups }) => groups.reduce((sum, group) => sum + group.count, 0);

  /** @param {Effect} effect */
  const verdict = ({ best }) => (best ? ["lowest at ", el("b", {}, wer.bdi(best.label))] : "intervals overlap");

  /** @param {Scale} scale */
  const small = (scale) => (/** @type {Effect} */ effect) =>
    el(
      "li",
      { class: "card small-multiple" },
      el("h2", {}, el("a", { href: href(effect.names[0]) }, title(effect.names))),
      wer.plot(effect, 290, 200, scale),
      el(
        "p",
        { class: "hint" },
        `${effect.groups.length} values · ${format.plural(count(effect), "run", "runs")} · `,
        verdict(effect),
      ),
    );

  const TAKEN_OUT =
    "The progress of the code is taken out: every run counts by its distance from the median of the 30 runs around it.";

  /** @param {Effects} found */
  const about = ({ detrended, runs, diverged }) => [
    "Each point is the mean test WER of the runs with that value, its bar the 95 % interval. ",
    detrended
      ? TAKEN_OUT
      : `${format.plural(runs, "run is", "runs are")} too few to take the progress of the code out: a difference may be the code's.`,
    diverged ? ` ${format.plural(diverged, "run", "runs")} with 100 % or more left out as diverged.` : "",
  ];

  /** @param {Effects} found */
  const constants = ({ constant, tooMany }) => [
    constant.length > 0 &&
      el(
        "details",
        { class: "card" },
        el("summary", {}, `${format.plural(constant.length, "parameter", "parameters")} never changed`),
        el(
          "dl",
          { class: "pairs" },
          constant.map(([name, value]) => [
            el("dt", { class: "mono" }, wer.bdi(name)),
            el("dd", { class: "mono" }, wer.bdi(value)),
          ]),
        ),
      ),
    tooMany.length > 0 && el("p", { class: "hint" }, "Too many different texts to chart: ", wer.bdi(tooMany.join(", "))),
  ];

  /** @param {HTMLElement} root @param {Effects} found */
  const overview = (root, found) => {
    const scale = found.effects.length ? wer.plotRange(found.effects.flatMap(({ groups }) => groups)) : null;
    wer.replace(
      root,
      wer.heading("Hyper-parameters", about(found), scale && " All charts have one scale."),
      scale ? el("ul", { class: "multiples" }, found.effects.map(small(scale))) : nothing(found),
      constants(found),
    );
  };

  /** @param {Effects} found */
  const nothing = ({ runs }) =>
    runs
      ? wer.notice(
          "Nothing to compare yet",
          "All runs used the same parameters. As soon as one is changed, its effect appears here.",
        )
      : wer.notice("No runs yet", "No run has measured a test WER.");

  /**
   * The search that finds these runs in the table, or null: a search word cannot contain spaces.
   * @param {string} name
   * @param {Value} value
   */
  const runsHref = (name, value) => {
    const word = `${name}=${value}`;
    return value === undefined || value === null || /\s/.test(word)
      ? null
      : `#/runs?${new URLSearchParams({ q: word })}`;
  };

  /** @param {Effect} effect @returns {TableColumn<Group>[]} */
  const columns = (effect) => {
    const name = effect.names[0];
    /** @param {Group} group */
    const counted = (group) => {
      const to = runsHref(name, group.value);
      return to ? el("a", { href: to }, format.count(group.count)) : format.count(group.count);
    };
    /** @param {Group} group @param {number} k */
    const label = (group, k) => group.labels[k] ?? (k ? format.none : group.label);
    return [
      ...effect.names.map((one, k) => ({
        title: effect.names.length > 1 ? wer.bdi(one, { class: "mono" }) : "Value",
        cell: (/** @type {Group} */ group) => wer.bdi(label(group, k), { class: "mono" }),
      })),
      { title: "Mean test WER", class: "number", cell: (group) => format.percent(group.mean) },
      {
        title: "95 % interval",
        class: "number",
        cell: (group) => (group.half === null ? format.none : `± ${group.half.toFixed(2)} pp`),
      },
      { title: "Runs", class: "number", cell: counted },
    ];
  };

  /** @param {HTMLElement} root @param {Effect} effect @param {Effects} found */
  const large = (root, effect, found) => {
    const wide = document.documentElement.clientWidth >= 600;
    wer.replace(
      root,
      el("p", { class: "back" }, el("a", { href: "#/parameters" }, "‹ all parameters")),
      el("h1", {}, title(effect.names)),
      el("p", { class: "lead" }, about(found)),
      effect.names.length > 1 &&
        el("p", { class: "lead" }, "These parameters always changed together: nobody can tell which of them it was."),
      el("section", { class: "card" }, wer.plot(effect, wide ? 960 : 340, wide ? 340 : 260), el("p", { class: "hint" }, verdict(effect))),
      el("section", { class: "card" }, wer.table("Values", columns(effect), effect.groups)),
    );
  };

  /** @param {string} name */
  const none = (name) =>
    wer.message(
      "No chart of this parameter",
      `“${name.slice(0, 60)}” is not known or never changed.`,
      el("p", {}, el("a", { href: "#/parameters" }, "All parameters")),
    );

  /** @param {HTMLElement} root @param {Data} data @param {Route} route */
  const draw = (root, data, { rest }) => {
    const found = (data.effects ||= wer.effects(data));
    const name = rest.join("/");
    const wanted = wer.encode(name); // a name with a lone surrogate is not the same after it was in an address
    const effect = found.effects.find(({ names }) => names.some((one) => wer.encode(one) === wanted));
    if (effect) large(root, effect, found);
    else if (name) wer.replace(root, none(name));
    else overview(root, found);
    return null;
  };

  wer.views.add({ name: "parameters", title: "Parameters", place: 5, draw });
})();
