// The entry point: load the data, draw the head, then the view that the address names: `#/view/rest?query`.
// A view is {title, draw(root, data, {rest, query}) -> clean-up or null}.
(() => {
  "use strict";
  const { el, format } = wer;
  const root = document.getElementById("content");
  let cleanUp = null;

  const decode = (text) => {
    try {
      return decodeURIComponent(text);
    } catch {
      return text; // a lone `%` typed by hand
    }
  };

  const parse = (hash) => {
    const [path, query] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
    const [view, ...rest] = path.split("/").map(decode);
    return { view: view || "overview", rest, query: new URLSearchParams(query || "") };
  };

  const drawNav = (current) =>
    wer.replace(
      document.getElementById("nav"),
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

  const age = (seconds) => {
    const hours = seconds / 3600;
    return hours > 24 * 7 ? "very-stale" : hours > 24 * 2 ? "stale" : "fresh";
  };

  /** The age of the data by the visitor's clock, so that a tracker whose cron job died is noticed. */
  const drawFreshness = (data) => {
    const time = data.lookedAt ?? (data.count ? data.started[data.count - 1] : null);
    if (time === null) return;
    const silent = Date.now() / 1000 - time;
    const state = age(silent);
    const words = {
      fresh: "",
      stale: ` · no news for ${format.duration(silent)}`,
      "very-stale": ` · no news for ${format.duration(silent)}. Is the tracker running?`,
    };
    const span = document.getElementById("freshness");
    span.className = `freshness ${state}`;
    wer.replace(
      span,
      el("span", { class: "dot", "aria-hidden": "true" }),
      el("time", { datetime: new Date(time * 1000).toISOString() }, `Updated ${format.minute(time)} UTC`),
      words[state],
    );
  };

  const drawHead = (data) => {
    const { name, branch, url } = data.project;
    document.getElementById("project").textContent = name;
    const where = wer.commitUrl(data.project, "0000000") ? wer.outside(url, name) : name;
    wer.replace(
      document.getElementById("tracked"),
      "Tracking ",
      where,
      branch && [" · branch ", el("span", { class: "mono" }, branch)],
      data.skipped > 0 && ` · ${format.plural(data.skipped, "damaged record", "damaged records")} left out`,
    );
  };

  const unknown = (view) =>
    wer.message(
      "No such view",
      `This page has no view called “${view.slice(0, 60)}”.`,
      el("p", {}, el("a", { href: "#/" }, "To the overview")),
    );

  const draw = (data) => {
    const route = parse(location.hash);
    const view = wer.views.find(route.view);
    cleanUp?.();
    cleanUp = null;
    drawNav(route.view);
    document.title = `${view ? view.title : "No such view"} · ${data.project.name} WER`;
    wer.replace(root);
    if (view) cleanUp = view.draw(root, data, route);
    else wer.replace(root, unknown(route.view));
  };

  const drawTheme = () => {
    const other = document.documentElement.dataset.theme === "dark" ? "Light" : "Dark";
    const button = document.getElementById("theme");
    button.setAttribute("aria-label", `${other} colours`);
    button.title = `${other} colours`;
  };

  const start = ({ data, problem }) => {
    if (problem) {
      drawNav(null);
      wer.replace(root, wer.message(problem.title, problem.text));
      return;
    }
    drawHead(data);
    drawFreshness(data);
    setInterval(() => drawFreshness(data), 60_000);
    draw(data);
    performance.mark("wer:drawn");
    window.addEventListener("hashchange", () => {
      draw(data);
      window.scrollTo(0, 0);
      root.focus({ preventScroll: true });
    });
    const idle = window.requestIdleCallback || ((work) => setTimeout(work, 200));
    idle(() => wer.loadMerges(data));
  };

  document.addEventListener("wer:theme", drawTheme);
  document.getElementById("theme").addEventListener("click", wer.toggleTheme);
  drawTheme();
  wer.load(start);
})();
