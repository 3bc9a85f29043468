// The tooltip of the chart: facts about the run under the pointer.
(() => {
  "use strict";
  const { el, format } = wer;

  /** @param {string} label @param {...Child} value */
  const line = (label, ...value) => [el("dt", {}, label), el("dd", {}, ...value)];
  /** @param {...Child} text */
  const muted = (...text) => el("span", { class: "muted" }, ...text);

  /**
   * @param {Data} data
   * @param {string} label
   * @param {number | null} delta
   * @param {Direction} direction
   * @param {number | null} before
   */
  const change = (data, label, delta, direction, before) =>
    before === null
      ? null
      : line(label, wer.change(delta, direction), muted(" since ", wer.shortSha(data, before)));

  /** @param {Data} data @param {number} i */
  const rates = (data, i) => {
    const errors = format.errors(data, i);
    const found = wer.changes(data, i);
    const band = data.bands?.[i] ?? null;
    return [
      line(
        "Test",
        el("b", {}, format.percent(data.test[i])),
        band !== null && ` ± ${band.toFixed(2)}`,
        errors && muted(` ${errors}`),
      ),
      line("Validation", format.percent(data.validation[i])),
      line("Train", format.percent(data.train[i])),
      change(data, "Change", found.delta, found.direction, found.before),
      change(data, "Same parameters", found.sameDelta, found.sameDirection, found.same),
      data.verdicts?.[i] && line("Verdict", wer.verdict(data.verdicts[i])),
    ];
  };

  /** @param {Data} data @param {number} i */
  const failure = (data, i) => [
    line("Failed", el("b", {}, wer.bdi(data.status[i]))),
    data.details.has(i) ? line("", wer.bdi(data.details.get(i) ?? "")) : null,
  ];

  /** @param {Data} data @param {number} i */
  const marks = (data, i) =>
    data.marks.filter(([at]) => at === i).map(([, text]) => line("From here", wer.bdi(format.prose(text))));

  /** @param {Data} data @param {number} i */
  const times = (data, i) =>
    line("Started", format.exact(data.started[i]), data.started[i] !== null && [el("br"), muted(format.local(data.started[i]))]);

  /** @param {Data} data @param {number} i */
  const content = (data, i) => [
    el("p", { class: "tooltip-title" }, el("span", { class: "mono" }, wer.shortSha(data, i)), ` · № ${data.ordinals[i]}`),
    wer.subject(data, i) && el("p", { class: "tooltip-subject" }, wer.bdi(wer.subject(data, i))),
    el("dl", {}, wer.failed(data, i) ? failure(data, i) : rates(data, i), marks(data, i), times(data, i)),
  ];

  wer.tooltip = (data) => {
    const root = el("div", { class: "tooltip", hidden: true });
    const marker = el("div", { class: "marker", hidden: true });
    /** @type {number | null} */
    let shown = null;
    const hide = () => {
      root.hidden = marker.hidden = true;
      shown = null;
    };
    /**
     * Beside the point, where there is room. A finger cannot hover: it gets a `pinned` tooltip with a link.
     * @param {number} i
     * @param {number} left
     * @param {number} width
     * @param {boolean | undefined} pinned
     */
    const show = (i, left, width, pinned) => {
      if (shown !== i || pinned) {
        wer.replace(root, content(data, i), pinned && el("a", { href: wer.runHref(data.ids[i]) }, "Open the run"));
        root.classList.toggle("pinned", Boolean(pinned));
        shown = i;
      }
      root.hidden = marker.hidden = false;
      const beside = left + 14 + root.offsetWidth <= width ? left + 14 : left - 14 - root.offsetWidth;
      root.style.transform = `translate(${Math.max(0, beside)}px, 8px)`;
      marker.style.transform = `translateX(${left}px)`;
    };
    return { root, marker, show, hide };
  };
})();
