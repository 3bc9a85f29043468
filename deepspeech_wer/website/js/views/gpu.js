// Were the GPUs busy, did memory or heat limit them? A run beside the one before it.
(() => {
  "use strict";
  const { el, format } = wer;
  const MOST = 30; // runs that are looked at to find one with samples

  /**
   * Calls `found(i, usage)` with the newest run up to `i` that has samples, or with null.
   * @param {Data} data
   * @param {number} i
   * @param {GpuFound} found
   * @param {number} [left]
   */
  const search = (data, i, found, left = MOST) => {
    if (i < 0 || !left) return found(null, null);
    return wer.loadRun(data.ids[i], (detail) => {
      if (detail?.gpu) found(i, detail.gpu);
      else search(data, i - 1, found, left - 1);
    });
  };

  /** @param {Percent[] | undefined} column */
  const mean = (column) => {
    const known = (column ?? []).filter((value) => value !== null);
    return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
  };

  /** @param {Percent[] | undefined} column */
  const most = (column) => {
    const known = (column ?? []).filter((value) => value !== null);
    return known.length ? Math.max(...known) : null;
  };

  /** @param {number | null} value @param {string} unit */
  const shown = (value, unit) => (value === null ? "not available" : `${Math.round(value)} ${unit}`);

  /** @param {Gpu} gpu */
  const memory = (gpu) => {
    const [used, total] = [most(gpu.memory_used_mib), most(gpu.memory_total_mib)];
    if (used === null) return "not available";
    return format.bytes(used * 2 ** 20) + (total === null ? "" : ` of ${format.bytes(total * 2 ** 20)}`);
  };

  /** @param {GpuUsage} usage @param {string} id */
  const table = (usage, id) =>
    wer.table(
      `Load of each GPU, run ${id}`,
      [
        { title: "GPU", cell: (gpu) => gpu.index },
        { title: "Busy, mean", class: "number folds", cell: (gpu) => shown(mean(gpu.gpu_percent), "%") },
        { title: "Memory, most", class: "number folds", cell: memory },
        { title: "Hottest", class: "number folds", cell: (gpu) => shown(most(gpu.temperature_celsius), "°C") },
        { title: "Power, mean", class: "number folds", cell: (gpu) => shown(mean(gpu.power_watts), "W") },
      ],
      usage.gpus,
    );

  /** @param {Data} data @param {number} i @param {GpuUsage} usage @param {string} title */
  const card = (data, i, usage, title) =>
    el(
      "section",
      { class: "card" },
      el("div", { class: "card-head" }, el("h2", {}, title, " ", wer.runLink(data, i)), wer.bdi(wer.about(data, i))),
      table(usage, data.ids[i]),
    );

  /**
   * The run, the one before it that has samples, and charts with a curve of each.
   * @param {Data} data
   * @param {number} i
   * @param {GpuUsage} usage
   * @param {number | null} earlier
   * @param {GpuUsage | null} its
   */
  const both = (data, i, usage, earlier, its) => [
    el("h1", {}, "GPUs"),
    card(data, i, usage, "Run"),
    earlier !== null && its && card(data, earlier, its, "The run before:"),
    el("section", { class: "card" }, wer.gpuBeside(usage, its, earlier === null ? "" : wer.shortSha(data, earlier))),
  ];

  /** @param {Data} data @param {number | null} wanted */
  const nothing = (data, wanted) =>
    wer.notice(
      "No GPU samples",
      wanted === null
        ? "None of the latest runs has any. The tracker takes them with nvidia-smi where it finds it."
        : "This run has none. The tracker takes them with nvidia-smi where it finds it.",
      wanted !== null && el("p", {}, wer.runLink(data, wanted)),
    );

  /** @param {HTMLElement} root @param {Data} data @param {number | null} wanted @param {() => boolean} isCurrent */
  const start = (root, data, wanted, isCurrent) => {
    /** @param {number | null} i @param {GpuUsage | null} usage */
    const show = (i, usage) => {
      if (!isCurrent()) return;
      if (i === null || !usage || (wanted !== null && i !== wanted)) {
        wer.replace(root, el("h1", {}, "GPUs"), nothing(data, wanted));
        return;
      }
      wer.replace(root, both(data, i, usage, null, null));
      search(data, i - 1, (earlier, its) => {
        if (isCurrent() && earlier !== null)
          wer.views.safely(root, () => wer.replace(root, both(data, i, usage, earlier, its)));
      });
    };
    /** @param {number | null} i @param {GpuUsage | null} usage */
    const safely = (i, usage) => wer.views.safely(root, () => show(i, usage));
    search(data, wanted ?? data.count - 1, safely, wanted === null ? MOST : 1);
  };

  /** @param {HTMLElement} root @param {Data} data @param {Route} route */
  const draw = (root, data, { rest }) => {
    const id = rest.join("/");
    const wanted = id ? data.places.get(id) : null;
    let current = true;
    wer.replace(root, el("h1", {}, "GPUs"), el("p", { class: "muted" }, "Reading the samples …"));
    if (wanted === undefined)
      wer.replace(root, wer.message("No such run", `There is no run “${id.slice(0, 80)}”.`, el("a", { href: "#/gpu" }, "The latest")));
    else start(root, data, wanted, () => current);
    return () => (current = false);
  };

  wer.views.add({ name: "gpu", title: "GPU", place: 6, draw });
})();
