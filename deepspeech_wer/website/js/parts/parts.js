// Parts that several views draw.
(() => {
  "use strict";
  const { el, format } = wer;

  wer.card = (title, attributes, ...children) =>
    el(
      "section",
      { ...attributes, class: `card ${attributes?.class || ""}` },
      title && el("h2", {}, title),
      ...children,
    );

  wer.tile = (label, value, unit, ...notes) =>
    el(
      "div",
      { class: "tile" },
      el("p", { class: "tile-label" }, label),
      el("p", { class: "tile-value" }, value, unit && el("span", { class: "unit" }, ` ${unit}`)),
      notes.map((note) => note && el("p", { class: "tile-note" }, note)),
    );

  const notice =
    (heading) =>
    (title, text, ...more) =>
      el("section", { class: "card notice", role: "status" }, el(heading, {}, title), el("p", {}, text), ...more);
  wer.notice = notice("h2");
  /** A notice that is all there is to see. */
  wer.message = notice("h1");

  wer.heading = (title, ...about) => [el("h1", {}, title), about.length ? el("p", { class: "lead" }, ...about) : null];

  wer.runLink = (data, i) =>
    el("a", { class: "mono", href: wer.runHref(data.ids[i]) }, data.shas[i].slice(0, 8) || data.ids[i]);

  /** A change without a verdict is grey: the page does not know whether it is noise. */
  wer.change = (delta) =>
    delta === null ? el("span", { class: "muted" }, format.none) : el("span", { class: "chip" }, format.points(delta));

  wer.status = (data, i) =>
    wer.failed(data, i)
      ? el("span", { class: "chip chip-failed" }, "✕ ", data.status[i])
      : el("span", { class: "chip" }, "done");

  /** A group of buttons of which one is pressed. */
  wer.choice = (label, options, chosen, choose) => {
    const buttons = options.map(([key, text]) =>
      el("button", { type: "button", "aria-pressed": key === chosen, onclick: () => (press(key), choose(key)) }, text),
    );
    const press = (key) => options.forEach(([other], i) => buttons[i].setAttribute("aria-pressed", other === key));
    const group = el("div", { class: "choice", role: "group", "aria-label": label }, buttons);
    group.press = press;
    return group;
  };

  /** A table that scrolls inside itself where it is too wide. columns: [{title, class, cell(i)}] */
  wer.table = (label, columns, rows) =>
    el(
      "div",
      { class: "scroll", role: "region", "aria-label": label, tabindex: 0 },
      el(
        "table",
        {},
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            columns.map((column) =>
              el("th", { scope: "col", class: column.class, "aria-sort": column.sorted }, column.title),
            ),
          ),
        ),
        el(
          "tbody",
          {},
          rows.map((row) =>
            el(
              "tr",
              {},
              columns.map((column) => el("td", { class: column.class }, column.cell(row))),
            ),
          ),
        ),
      ),
    );

  const runColumns = {
    run: (data) => ({ title: "Run", cell: (i) => wer.runLink(data, i) }),
    merge: (data) => ({ title: "№", class: "number wide", cell: (i) => data.ordinals[i] }),
    started: (data) => ({
      title: "Started (UTC)",
      class: "nowrap",
      cell: (i) => [
        format.date(data.started[i]),
        el("span", { class: "wide-inline" }, format.minute(data.started[i]).slice(10)),
      ],
    }),
    subject: (data) => ({
      title: "Subject",
      class: "subject wide",
      cell: (i) => el("span", { title: wer.subject(data, i) }, wer.subject(data, i)),
    }),
    test: (data) => ({
      title: "Test",
      class: "number",
      cell: (i) => (wer.failed(data, i) ? wer.status(data, i) : format.percent(data.test[i])),
    }),
    delta: (data) => ({ title: "Change", class: "number", cell: (i) => wer.change(wer.delta(data, i)) }),
    validation: (data) => ({
      title: "Validation",
      class: "number wide",
      cell: (i) => format.percent(data.validation[i]),
    }),
    train: (data) => ({ title: "Train", class: "number wide", cell: (i) => format.percent(data.train[i]) }),
    errors: (data) => ({
      title: "Errors / words",
      class: "number widest",
      cell: (i) => format.errors(data, i, " / ", "") ?? format.none,
    }),
    took: (data) => ({ title: "Took", class: "number wide nowrap", cell: (i) => format.duration(data.took[i]) }),
  };
  wer.runColumns = (data, ...names) => names.map((name) => ({ name, ...runColumns[name](data) }));
})();
