// Find a run; also the table behind the chart.
(() => {
  "use strict";
  const { el, format } = wer;
  const PAGE = 100;
  const COLUMNS = ["run", "merge", "started", "subject", "test", "delta", "validation", "train", "errors", "took"];

  const SORTS = {
    merge: (_, i) => i,
    started: (data, i) => data.started[i],
    test: (data, i) => data.test[i],
    delta: (data, i) => wer.delta(data, i),
    validation: (data, i) => data.validation[i],
    train: (data, i) => data.train[i],
    took: (data, i) => data.took[i],
  };

  /** Words are looked for in sha, id, subject, author, class and day; `name=value` in the parameters. */
  const matcher = (data, words) => {
    const tests = words
      .trim()
      .toLowerCase()
      .split(/\s+/)
      .filter(Boolean)
      .map((word) => parameterTest(data, word) || textTest(data, word));
    return (i) => tests.every((test) => test(i));
  };

  const textTest = (data, word) => (i) =>
    data.ids[i].toLowerCase().includes(word) ||
    data.shas[i].startsWith(word.slice(0, 12)) ||
    `№${data.ordinals[i]}` === word ||
    data.status[i].includes(word) ||
    format.date(data.started[i]).includes(word) ||
    Boolean(data.subjects && `${data.subjects[i]} ${data.authors[i]}`.toLowerCase().includes(word));

  const parameterTest = (data, word) => {
    const [name, value] = word.split(/=(.*)/s);
    const column = value !== undefined && data.parameters.find((candidate) => candidate.name.toLowerCase() === name);
    if (!column) return null;
    const same = new Set(column.values.flatMap((other, code) => (String(other).toLowerCase() === value ? [code] : [])));
    return (i) => !wer.failed(data, i) && same.has(column.codes[i]);
  };

  const select = (data, { q, status }) => {
    const matches = matcher(data, q);
    const wanted = { all: () => true, done: (i) => !wer.failed(data, i), failed: (i) => wer.failed(data, i) }[status];
    return data.ids.map((_, i) => i).filter((i) => wanted(i) && matches(i));
  };

  /** Missing values stand last whichever way it is sorted. */
  const sort = (data, places, { by, down }) => {
    const keys = new Map(places.map((i) => [i, SORTS[by](data, i)]));
    return places.sort((a, b) => {
      const [x, y] = [keys.get(a), keys.get(b)];
      if (x === null || y === null) return (x === null) - (y === null) || b - a;
      return (down ? y - x : x - y) || b - a;
    });
  };

  const stateOf = (query) => {
    const order = query.get("sort") || "-merge";
    const by = order.replace("-", "");
    const status = query.get("status");
    return {
      q: query.get("q") || "",
      status: ["done", "failed"].includes(status) ? status : "all",
      by: Object.hasOwn(SORTS, by) ? by : "merge",
      down: order.startsWith("-"),
      page: Math.max(1, Number.parseInt(query.get("page"), 10) || 1),
    };
  };

  const address = ({ q, status, by, down, page }) => {
    const query = new URLSearchParams();
    if (q) query.set("q", q);
    if (status !== "all") query.set("status", status);
    if (by !== "merge" || !down) query.set("sort", `${down ? "-" : ""}${by}`);
    if (page > 1) query.set("page", page);
    return String(query) ? `#/runs?${query}` : "#/runs";
  };

  const sortable = (column, state, change) => {
    if (!SORTS[column.name]) return column;
    const active = state.by === column.name;
    const button = el(
      "button",
      {
        type: "button",
        class: "sort",
        "data-sort": column.name,
        onclick: () =>
          change({
            by: column.name,
            down: active ? !state.down : column.name === "merge" || column.name === "started",
            page: 1,
          }),
      },
      column.title,
      el("span", { class: "sort-mark", "aria-hidden": "true" }, active ? (state.down ? " ▾" : " ▴") : ""),
    );
    return { ...column, title: button, sorted: active ? (state.down ? "descending" : "ascending") : null };
  };

  const pager = (state, count, change) => {
    const pages = Math.ceil(count / PAGE);
    if (pages < 2) return null;
    const turn = (page, text) =>
      el(
        "button",
        { type: "button", class: "button", disabled: page < 1 || page > pages, onclick: () => change({ page }) },
        text,
      );
    return el(
      "div",
      { class: "pager" },
      turn(state.page - 1, "‹ Previous"),
      el("span", {}, `page ${state.page} of ${pages}`),
      turn(state.page + 1, "Next ›"),
    );
  };

  // -- CSV

  /** A spreadsheet would run a text that starts like a formula. */
  const cell = (value) => {
    if (value === null || value === undefined) return "";
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };

  const csv = (data, places) => {
    const fixed = [
      "id",
      "sha",
      "merge",
      "started",
      "subject",
      "author",
      "status",
      "test_wer",
      "validation_wer",
      "train_wer",
      "seconds",
    ];
    const rate = (value) => (value === null ? null : +(value / 100).toFixed(5));
    const rows = places.map((i) => [
      data.ids[i],
      data.shas[i],
      data.ordinals[i],
      format.exact(data.started[i]).replace(" UTC", "Z").replace(" ", "T"),
      wer.subject(data, i),
      data.authors?.[i],
      data.status[i],
      rate(data.test[i]),
      rate(data.validation[i]),
      rate(data.train[i]),
      data.took[i],
      ...data.parameters.map((column) => (wer.failed(data, i) ? null : column.values[column.codes[i]])),
    ]);
    return (
      [[...fixed, ...data.parameters.map((column) => column.name)], ...rows]
        .map((row) => row.map(cell).join(","))
        .join("\r\n") + "\r\n"
    );
  };
  wer.csv = csv;

  // -- the view

  const controls = (state, change, save) => {
    const search = el("input", {
      type: "search",
      id: "search",
      placeholder: "sha, subject, class, 2023-08, epochs=30 …",
      value: state.q,
      autocomplete: "off",
      spellcheck: "false",
    });
    search.addEventListener("input", () => change({ q: search.value, page: 1 }));
    return el(
      "div",
      { class: "controls" },
      el("label", { class: "search", for: "search" }, el("span", { class: "visually-hidden" }, "Search"), search),
      wer.choice(
        "Status",
        [
          ["all", "all"],
          ["done", "done"],
          ["failed", "failed"],
        ],
        state.status,
        (status) => change({ status, page: 1 }),
      ),
      el("span", { class: "grow" }),
      el("button", { type: "button", class: "button", onclick: save }, "Save as CSV"),
    );
  };

  wer.views.runs = {
    title: "Runs",
    draw: (root, data, { query }) => {
      let state = stateOf(query);
      let places = [];
      const list = el("div", {});
      const count = el("p", { class: "lead", "aria-live": "polite" });

      const change = (part) => {
        const focused = document.activeElement?.dataset?.sort;
        state = { ...state, ...part };
        wer.setAddress(address(state));
        show();
        if (focused) list.querySelector(`[data-sort="${focused}"]`)?.focus();
      };
      const show = () => {
        places = sort(data, select(data, state), state);
        state.page = Math.min(state.page, Math.max(1, Math.ceil(places.length / PAGE)));
        count.textContent =
          places.length === data.count
            ? format.plural(data.count, "run", "runs")
            : `${format.count(places.length)} of ${format.plural(data.count, "run", "runs")}`;
        wer.replace(list, places.length ? table() : none());
      };
      const table = () => {
        const columns = wer.runColumns(data, ...COLUMNS).map((column) => sortable(column, state, change));
        return [
          wer.table("Runs", columns, places.slice((state.page - 1) * PAGE, state.page * PAGE)),
          pager(state, places.length, change),
        ];
      };
      const none = () =>
        el(
          "p",
          { class: "empty" },
          data.count ? "No run matches. " : "No runs yet.",
          data.count ? el("a", { href: "#/runs" }, "Show all") : null,
        );
      const save = () => wer.download("runs.csv", csv(data, places), "text/csv");

      wer.replace(
        root,
        el("h1", {}, "Runs"),
        count,
        el("section", { class: "card" }, controls(state, change, save), list),
      );
      show();
      document.addEventListener("wer:merges", show);
      return () => document.removeEventListener("wer:merges", show);
    },
  };
})();
