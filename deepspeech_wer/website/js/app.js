// The entry point: load the data, draw the head, then the view that the address names: `#/view/rest?query`.
(() => {
  "use strict";
  const { el, format } = wer;
  const NOW_EVERY_MS = 60_000;
  const root = wer.byId("content");
  /** @type {(() => void) | null} */
  let cleanUp = null;

  /** @param {string} text */
  const decode = (text) => {
    try {
      return decodeURIComponent(text);
    } catch {
      return text; // a lone `%` typed by hand
    }
  };

  /** @param {string} hash */
  const parse = (hash) => {
    const [path, query] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
    const [view, ...rest] = path.split("/").map(decode);
    return { view: view || "overview", rest, query: new URLSearchParams(query || "") };
  };

  /** @param {string | null} current */
  const drawNav = (current) =>
    wer.replace(
      wer.byId("nav"),
      wer.views
        .linked()
        .map(({ name, title }) =>
          el(
            "a",
            { href: name === "overview" ? "#/" : `#/${name}`, "aria-current": name === current ? "page" : null },
            title,
          ),
        ),
    );

  /** @param {number} seconds */
  const age = (seconds) => {
    const hours = seconds / 3600;
    return hours > 24 * 7 ? "very-stale" : hours > 24 * 2 ? "stale" : "fresh";
  };

  /** @param {Data} data */
  const lastResult = (data) => {
    const last = data.count - 1;
    return last < 0 || data.started[last] === null ? null : data.started[last] + (data.took[last] ?? 0);
  };

  /**
   * The age of the data by the visitor's clock, so that a tracker whose cron job died is noticed.
   * @param {Data} data
   */
  const drawFreshness = (data) => {
    const result = lastResult(data);
    const now = wer.now.read();
    const time = now?.lookedAt ?? data.lookedAt ?? result;
    if (time === null) return;
    const silent = Date.now() / 1000 - time;
    const state = now ? wer.now.stateOf(now, silent) : age(silent);
    /** @type {Record<string, string>} */
    const words = {
      fresh: "",
      stale: ` · no news for ${format.duration(silent)}`,
      "very-stale": ` · no news for ${format.duration(silent)}. Is the tracker running?`,
    };
    const shown = result ?? time;
    const span = wer.byId("freshness");
    span.className = `freshness ${state}`;
    wer.replace(
      span,
      el("span", { class: "dot", "aria-hidden": "true" }),
      el(
        "time",
        { datetime: new Date(shown * 1000).toISOString(), title: format.exact(shown) },
        `${result === null ? "looked" : "last result"} ${format.ago(shown)}`,
      ),
      words[state],
      now?.job && state === "fresh" && " · training",
    );
  };

  /** @param {Data} data */
  const drawHead = (data) => {
    const { name, branch, url } = data.project;
    wer.replace(wer.byId("project"), wer.bdi(name));
    const where = wer.commitUrl(data.project, "0000000") ? wer.outside(url, wer.bdi(name)) : wer.bdi(name);
    wer.replace(
      wer.byId("tracked"),
      "Tracking ",
      where,
      branch && [" · branch ", wer.bdi(branch, { class: "mono" })],
      data.skipped > 0 && ` · ${format.plural(data.skipped, "damaged record", "damaged records")} left out`,
    );
  };

  /** @param {string} view */
  const unknown = (view) =>
    wer.message(
      "No such view",
      `This page has no view called “${view.slice(0, 60)}”.`,
      el("p", {}, el("a", { href: "#/" }, "To the overview")),
    );

  /** @param {Data} data */
  const draw = (data) => {
    const route = parse(location.hash);
    const view = wer.views.find(route.view);
    cleanUp?.();
    cleanUp = null;
    drawNav(route.view);
    document.title = `${view ? view.title : "No such view"} · ${data.project.name} WER`;
    wer.replace(root);
    if (view) cleanUp = wer.views.safely(root, () => view.draw(root, data, route)) ?? null;
    else wer.replace(root, unknown(route.view));
  };

  const drawTheme = () => {
    const other = document.documentElement.dataset.theme === "dark" ? "Light" : "Dark";
    const button = wer.byId("theme");
    button.setAttribute("aria-label", `${other} colours`);
    button.title = `${other} colours`;
  };

  /** Reads js/now.js each minute, unless this site has none. */
  const followNow = () => {
    const told = () => {
      document.dispatchEvent(new Event("wer:now"));
      wer.now.renew();
    };
    /** @param {() => void} missing */
    const look = (missing) => wer.loadNow(told, missing);
    const again = setInterval(() => look(() => {}), NOW_EVERY_MS);
    look(() => clearInterval(again));
  };

  /** @param {Loaded} found */
  const start = ({ data, problem }) => {
    if (!data) {
      drawNav(null);
      wer.replace(root, wer.message(problem.title, problem.text));
      return;
    }
    drawHead(data);
    drawFreshness(data);
    setInterval(() => drawFreshness(data), 60_000);
    document.addEventListener("wer:now", () => drawFreshness(data));
    wer.places.start();
    draw(data);
    performance.mark("wer:drawn");
    window.addEventListener("hashchange", () => {
      draw(data);
      wer.places.arrive(root);
    });
    window.addEventListener("pagehide", wer.flushAddress);
    document.addEventListener("click", wer.flushAddress, true);
    const idle = window.requestIdleCallback || ((work) => setTimeout(work, 200));
    idle(() => (wer.loadMerges(data), followNow()));
  };

  document.addEventListener("wer:theme", drawTheme);
  wer.byId("theme").addEventListener("click", wer.toggleTheme);
  drawTheme();
  wer.load(start);
})();
