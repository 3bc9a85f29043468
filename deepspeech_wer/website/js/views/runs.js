// Find a run. This table is also the accessible form of the chart.
(() => {
  "use strict";
  const { el, format, paging, search } = wer;
  const PAGE = 100;
  const COLUMNS = "run merge started subject test delta same verdict validation train errors took".split(" ");

  /** @param {URLSearchParams} query */
  const stateOf = (query) => {
    const order = query.get("sort") || "-merge";
    const by = order.replace("-", "");
    const status = query.get("status");
    return {
      q: query.get("q") || "",
      status: status === "done" || status === "failed" ? status : "all",
      by: search.isOrder(by) ? by : "merge",
      down: order.startsWith("-"),
      page: paging.wanted(query),
    };
  };

  /** @param {RunsState} state */
  const address = ({ q, status, by, down, page }) => {
    const query = new URLSearchParams();
    if (q) query.set("q", q);
    if (status !== "all") query.set("status", status);
    if (by !== "merge" || !down) query.set("sort", `${down ? "-" : ""}${by}`);
    if (page > 1) query.set("page", String(page));
    return String(query) ? `#/runs?${query}` : "#/runs";
  };

  /** @param {TableColumn<number>} column @param {RunsState} state @param {ChangeRuns} change */
  const sortable = (column, state, change) => {
    const { name } = column;
    if (!name || !search.isOrder(name)) return column;
    const active = state.by === column.name;
    const button = el(
      "button",
      {
        type: "button",
        class: "sort",
        "data-key": column.name,
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

  /** @param {RunsState} state @param {ChangeRuns} change @param {() => void} save */
  const controls = (state, change, save) => {
    return el(
      "div",
      { class: "controls" },
      paging.searchField(state.q, "sha, subject, class, 2023-08, epochs=30 …", (q) => change({ q, page: 1 })),
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

  /**
   * The table was drawn anew: focus goes back to the button that was pressed, or to the table where it is off.
   * @param {HTMLElement} list
   * @param {string | null | undefined} key
   */
  const refocus = (list, key) => {
    if (!key) return;
    const again = [...list.querySelectorAll(/** @type {"button"} */ ("[data-key]"))].find((button) => button.dataset.key === key);
    (again && !again.disabled ? again : list.querySelector(/** @type {"div"} */ (".scroll")))?.focus();
  };

  /** @param {Data} data */
  const none = (data) =>
    el(
      "p",
      { class: "empty" },
      data.count ? "No run matches. " : "No runs yet.",
      data.count ? el("a", { href: "#/runs" }, "Show all") : null,
    );

  /** @param {Data} data @param {number[]} places */
  const counted = (data, places) =>
    places.length === data.count
      ? format.plural(data.count, "run", "runs")
      : `${format.count(places.length)} of ${format.plural(data.count, "run", "runs")}`;

  /** @param {Data} data @param {number[]} places @param {RunsState} state @param {ChangeRuns} change */
  const table = (data, places, state, change) => {
    const columns = wer.runColumns(data, ...COLUMNS).map((column) => sortable(column, state, change));
    return [
      wer.table("Runs", columns, paging.slice(places, state.page, PAGE)),
      paging.pager(state.page, places.length, PAGE, (page) => change({ page })),
    ];
  };

  /** @param {HTMLElement} root @param {Data} data @param {Route} route */
  const draw = (root, data, { query }) => {
    let state = stateOf(query);
    /** @type {number[]} */
    let places = [];
    const list = el("div", {});
    const count = el("p", { class: "lead", "aria-live": "polite" });

    /** @param {Partial<RunsState>} part */
    const change = (part) => {
      const active = document.activeElement;
      const focused = active instanceof HTMLElement && list.contains(active) ? active.dataset.key : null;
      state = { ...state, ...part };
      wer.setAddress(address(state));
      show();
      refocus(list, focused);
    };
    const show = () =>
      wer.views.safely(list, () => {
        places = search.sort(data, search.select(data, state), state);
        state.page = paging.within(state.page, places.length, PAGE);
        count.textContent = counted(data, places);
        wer.replace(list, places.length ? table(data, places, state, change) : none(data));
      });
    const save = () => wer.download("runs.csv", wer.csv(data, places), "text/csv");

    wer.replace(root, el("h1", {}, "Runs"), count, el("section", { class: "card" }, controls(state, change, save), list));
    show();
    document.addEventListener("wer:merges", show);
    return () => document.removeEventListener("wer:merges", show);
  };

  wer.views.add({ name: "runs", title: "Runs", place: 4, draw });
})();
