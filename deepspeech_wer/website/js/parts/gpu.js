// The load of the GPUs while a run trained: one chart per metric, a curve per GPU.
(() => {
  "use strict";
  const { el } = wer;

  /** @type {[name: GpuMetric, title: string, unit: string, least?: number][]} */
  const METRICS = [
    ["gpu_percent", "GPU busy", " %", 0],
    ["memory_controller_percent", "Memory controller busy", " %", 0],
    ["memory_used_mib", "Memory used", " GB", 0],
    ["temperature_celsius", "Temperature", " °C"],
    ["power_watts", "Power", " W", 0],
  ];
  const MIB_PER_GB = 1e9 / 2 ** 20;

  /** @param {string} name @param {Percent[]} column */
  const values = (name, column) =>
    name === "memory_used_mib" ? column.map((value) => (value === null ? null : value / MIB_PER_GB)) : column;

  /** @param {number} seconds */
  const minutes = (seconds) => (seconds < 600 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`);

  /**
   * What a GPU has of a metric; "not available" is not 0.
   * @param {Gpu[]} gpus
   * @param {GpuMetric} name
   */
  const missing = (gpus, name) =>
    gpus.filter((gpu) => (gpu[name] ?? []).every((value) => value === null)).map(({ index }) => `GPU ${index}`);

  /** @param {GpuUsage} usage @param {(typeof METRICS)[0]} metric */
  const chart = (usage, [name, title, unit, least]) => {
    const xs = Array.from({ length: usage.count }, (_, k) => k * usage.every);
    const series = usage.gpus.map((gpu) => ({ label: `GPU ${gpu.index}`, ys: values(name, gpu[name] ?? []) }));
    const without = missing(usage.gpus, name);
    const figure = wer.curves(title, { xs, series, unit, least, describe: minutes });
    return el(
      "div",
      {},
      figure ?? el("p", { class: "hint" }, `${title}: not available`),
      figure && without.length > 0 && el("p", { class: "hint" }, `not available: ${without.join(", ")}`),
    );
  };

  /**
   * The values of a metric at the times of another run: both count from their start.
   * @param {GpuUsage} usage
   * @param {Percent[]} column
   * @param {number} every
   * @param {number} count
   */
  const resampled = (usage, column, every, count) =>
    Array.from({ length: count }, (_, k) => column[Math.floor((k * every) / usage.every)] ?? null);

  /**
   * @param {GpuUsage} usage
   * @param {GpuUsage | null} before
   * @param {Gpu} gpu
   * @param {(typeof METRICS)[0]} metric
   * @param {string} label
   */
  const beside = (usage, before, gpu, [name, title, unit, least], label) => {
    const its = before?.gpus.find(({ index }) => index === gpu.index)?.[name];
    const length = Math.max(usage.every * usage.count, before ? before.every * before.count : 0);
    const count = Math.ceil(length / usage.every);
    const series = [{ label: "this run", ys: resampled(usage, values(name, gpu[name] ?? []), usage.every, count) }];
    if (before && its) series.push({ label, ys: resampled(before, values(name, its), usage.every, count) });
    const xs = Array.from({ length: count }, (_, k) => k * usage.every);
    const heading = `${title}, GPU ${gpu.index}`;
    const figure = wer.curves(heading, { xs, series, unit, least, describe: minutes });
    return figure ?? el("p", { class: "hint" }, `${heading}: not available`);
  };

  /** A chart per metric and GPU, each with a curve of the run before; `label` names that one. */
  wer.gpuBeside = (usage, before, label) =>
    el(
      "div",
      { class: "columns" },
      METRICS.flatMap((metric) => usage.gpus.map((gpu) => beside(usage, before, gpu, metric, label))),
    );

  wer.gpuHref = (id) => `#/gpu/${wer.encode(id)}`;

  /** gpuCharts(usage): `usage` as runs/<id>.js has it; null where there are no samples. */
  wer.gpuCharts = (usage) =>
    usage ? el("div", { class: "columns" }, METRICS.map((metric) => chart(usage, metric))) : null;
})();
