// The tooltip of the chart: facts about the run under the pointer.
(() => {
  "use strict";
  const { el, format } = wer;

  const line = (label, ...value) => [el("dt", {}, label), el("dd", {}, ...value)];

  const rates = (data, i) => {
    const errors = format.errors(data, i);
    const delta = wer.delta(data, i);
    return [
      line("Test", el("b", {}, format.percent(data.test[i])), errors && el("span", { class: "muted" }, ` ${errors}`)),
      line("Validation", format.percent(data.validation[i])),
      line("Train", format.percent(data.train[i])),
      delta === null
        ? null
        : line(
            "Change",
            format.points(delta),
            el("span", { class: "muted" }, ` since ${data.shas[wer.previous(data, i)].slice(0, 8)}`),
          ),
    ];
  };

  const failure = (data, i) => [
    line("Failed", el("b", {}, data.status[i])),
    data.details.has(i) ? line("", data.details.get(i)) : null,
  ];

  const content = (data, i) => [
    el(
      "p",
      { class: "tooltip-title" },
      el("span", { class: "mono" }, data.shas[i].slice(0, 8)),
      ` · № ${data.ordinals[i]}`,
    ),
    wer.subject(data, i) && el("p", { class: "tooltip-subject" }, wer.subject(data, i)),
    el(
      "dl",
      {},
      wer.failed(data, i) ? failure(data, i) : rates(data, i),
      line(
        "Started",
        format.exact(data.started[i]),
        el("br"),
        el("span", { class: "muted" }, format.local(data.started[i])),
      ),
    ),
  ];

  wer.tooltip = (data) => {
    const root = el("div", { class: "tooltip", hidden: true });
    const marker = el("div", { class: "marker", hidden: true });
    let shown = null;
    const hide = () => {
      root.hidden = marker.hidden = true;
      shown = null;
    };
    /** Beside the point, where there is room. A finger cannot hover: it gets a `pinned` tooltip with a link. */
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
