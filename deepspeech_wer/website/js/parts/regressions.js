// Regressions: what is open, for the overview and for the view of all of them.
(() => {
  "use strict";
  const { el, format } = wer;

  /** "+5.2 pp (4.1 to 6.3)": the step with its 95 % interval. */
  wer.stepText = ({ step, interval }) =>
    `${format.points(step)} (95 %: ${format.number(interval[0])} to ${format.number(interval[1])})`;

  wer.regressionHref = (id) => `#/regressions/${wer.encode(id)}`;

  /** @param {Data} data @param {Step} event */
  const row = (data, event) =>
    el(
      "li",
      {},
      wer.verdict(event.state),
      " ",
      el("a", { href: wer.regressionHref(event.id) }, wer.stepText(event)),
      event.at !== null && [" since ", wer.runLink(data, event.at), ` · ${format.date(data.started[event.at])}`],
    );

  /** A card with what is open or suspect, for the overview; null where nothing is. */
  wer.openRegressions = (data) => {
    const open = data.events.filter(({ state }) => state === "open" || state === "suspect").reverse();
    if (!open.length) return null;
    const rows = el("ul", { class: "plain" }, open.map((event) => row(data, event)));
    return wer.cardOfSome("Open regressions", "#/regressions", `all ${format.count(data.events.length)}`, rows);
  };
})();
