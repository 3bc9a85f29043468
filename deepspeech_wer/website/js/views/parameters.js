// Which value of a hyper-parameter is best, how certain is that, and how many runs say so?
(() => {
  "use strict";
  const { el, format } = wer;

  const href = (name) => `#/parameters/${wer.encode(name)}`;

  const title = (names) => names.map((name, k) => [k ? " & " : "", wer.bdi(name, { class: "mono" })]);

  const count = ({ groups }) => groups.reduce((sum, group) => sum + group.count, 0);

  const verdict = ({ best }) => (best ? ["lowest at ", el("b", {}, wer.bdi(best.label))] : "intervals overlap");

  const small = (scale) => (effect) =>
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

  const about = ({ detrended, runs, diverged }) => [
    "Each point is the mean test WER of the runs with that value, its bar the 95 % interval. ",
    detrended
      ? TAKEN_OUT
      : `${format.plural(runs, "run is", "runs are")} too few to take the progress of the code out: a difference may be the code's.`,
    diverged ? ` ${format.plural(diverged, "run", "runs")} with 100 % or more left out as diverged.` : "",
  ];

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

  const overview = (root, found) => {
    const scale = found.effects.length ? wer.plotRange(found.effects.flatMap(({ groups }) => groups)) : null;
    wer.replace(
      root,
      wer.heading("Hyper-parameters", about(found), scale && " All charts have one scale."),
      scale ? el("ul", { class: "multiples" }, found.effects.map(small(scale))) : nothing(found),
      constants(found),
    );
  };

  const nothing = ({ runs }) =>
    runs
      ? wer.notice(
          "Nothing to compare yet",
          "All runs used the same parameters. As soon as one is changed, its effect appears here.",
        )
      : wer.notice("No runs yet", "No run has measured a test WER.");

  /** The search that finds these runs in the table, or null: a search word cannot contain spaces. */
  const runsHref = (name, value) => {
    const word = `${name}=${value}`;
    return value === undefined || value === null || /\s/.test(word)
      ? null
      : `#/runs?${new URLSearchParams({ q: word })}`;
  };

  const columns = (effect) => {
    const name = effect.names[0];
    const counted = (group) => {
      const to = runsHref(name, group.value);
      return to ? el("a", { href: to }, format.count(group.count)) : format.count(group.count);
    };
    const label = (group, k) => group.labels[k] ?? (k ? format.none : group.label);
    return [
      ...effect.names.map((one, k) => ({
        title: effect.names.length > 1 ? wer.bdi(one, { class: "mono" }) : "Value",
        cell: (group) => wer.bdi(label(group, k), { class: "mono" }),
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

  const none = (name) =>
    wer.message(
      "No chart of this parameter",
      `“${name.slice(0, 60)}” is not known or never changed.`,
      el("p", {}, el("a", { href: "#/parameters" }, "All parameters")),
    );

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
