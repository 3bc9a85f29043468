// Marks on the chart: failed runs, runs off the scale, verdicts, and where another series begins.
(() => {
  "use strict";
  const { lines, palette } = wer;

  /**
   * A cross, or a plain tick where many runs are in view.
   * @param {CanvasRenderingContext2D} pen
   * @param {number} x
   * @param {number} y
   * @param {number} size
   * @param {boolean} dense
   */
  const failure = (pen, x, y, size, dense) => {
    pen.beginPath();
    if (dense) {
      pen.moveTo(x, y - size);
      pen.lineTo(x, y + size);
      return pen.stroke();
    }
    pen.moveTo(x - size, y - size);
    pen.lineTo(x + size, y + size);
    pen.moveTo(x - size, y + size);
    pen.lineTo(x + size, y - size);
    return pen.stroke();
  };

  /**
   * An arrow to a run that is above or below what is shown.
   * @param {CanvasRenderingContext2D} pen
   * @param {number} x
   * @param {number} y
   * @param {boolean} up
   * @param {number} size
   */
  const arrow = (pen, x, y, up, size) => {
    const down = up ? 1 : -1;
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(x, y + 2.2 * down * size);
    pen.moveTo(x - size * 0.8, y + down * size);
    pen.lineTo(x, y);
    pen.lineTo(x + size * 0.8, y + down * size);
    pen.stroke();
  };

  /** @param {uPlot} u @param {Data} data @param {number[]} xs @param {number} scale */
  const drawFailures = (u, data, xs, scale) => {
    const [from, to] = u.series[0].idxs;
    const dense = lines.isDense(from, to);
    u.ctx.lineWidth = (dense ? 1 : 2) * scale;
    u.ctx.strokeStyle = palette.bad;
    const y = u.bbox.top + u.bbox.height - 7 * scale;
    for (let i = from; i <= to; i++)
      if (wer.failed(data, i)) failure(u.ctx, u.valToPos(xs[i], "x", true), y, 3.5 * scale, dense);
  };

  /** @param {uPlot} u @param {Data} data @param {number[]} xs @param {number} scale */
  const drawOffScale = (u, data, xs, scale) => {
    const { top, height } = u.bbox;
    const { min, max } = u.scales.y;
    const [from, to] = u.series[0].idxs;
    u.ctx.lineWidth = 1.5 * scale;
    for (const key of [...lines.keys].reverse()) {
      if (!lines.isShown(u, key)) continue;
      u.ctx.strokeStyle = palette[key];
      for (let i = from; i <= to; i++) {
        const value = data[key][i];
        if (value === null || (value <= max && value >= min)) continue;
        const up = value > max;
        arrow(u.ctx, u.valToPos(xs[i], "x", true), up ? top + scale : top + height - scale, up, 4.5 * scale);
      }
    }
  };

  /**
   * A dashed line before the run with which another series begins, and its text where there is room.
   * @param {uPlot} u
   * @param {Data} data
   * @param {number[]} xs
   * @param {number} scale
   */
  const drawBreaks = (u, data, xs, scale) => {
    const { top, height } = u.bbox;
    const [from, to] = u.series[0].idxs;
    const pen = u.ctx;
    let free = -Infinity;
    pen.strokeStyle = pen.fillStyle = palette.muted;
    pen.lineWidth = scale;
    pen.font = palette.font.replace("12px", `${11 * scale}px`);
    pen.textAlign = "left";
    pen.textBaseline = "bottom";
    for (const { at, text } of beginnings(data)) {
      if (at <= from || at > to) continue;
      const x = (u.valToPos(xs[at - 1], "x", true) + u.valToPos(xs[at], "x", true)) / 2;
      pen.setLineDash([2 * scale, 3 * scale]);
      pen.beginPath();
      pen.moveTo(x, top);
      pen.lineTo(x, top + height);
      pen.stroke();
      const words = text.length > 28 ? `${text.slice(0, 27)}…` : text;
      if (x < free || x + pen.measureText(words).width > u.bbox.left + u.bbox.width) continue;
      pen.globalAlpha = 0.85;
      pen.fillStyle = palette.card;
      pen.fillRect(x + 2 * scale, top + height - 28 * scale, pen.measureText(words).width + 4 * scale, 15 * scale);
      pen.globalAlpha = 1;
      pen.fillStyle = palette.muted;
      pen.fillText(words, x + 4 * scale, top + height - 14 * scale);
      free = x + pen.measureText(words).width + 12 * scale;
    }
    pen.setLineDash([]);
  };

  /** @param {Data} data */
  const beginnings = (data) => {
    /** @type {Map<number, string>} */
    const told = new Map();
    for (const [at, text] of data.marks) told.set(at, wer.format.prose(text));
    const other = lines.breaks(data).filter((at) => !told.has(at));
    return [...[...told].map(([at, text]) => ({ at, text })), ...other.map((at) => ({ at, text: "other test set" }))];
  };

  /** @type {Record<string, { sign: string, colour: Colour }>} */
  const SIGNS = {
    worse: { sign: "▲", colour: "bad" },
    suspect: { sign: "▲?", colour: "warn" },
    better: { sign: "▼", colour: "good" },
    recovered: { sign: "▼", colour: "good" },
  };

  /**
   * Place -> sign. A step that a person accepted is no longer shown as worse.
   * @param {Data} data
   */
  const verdicts = (data) => {
    if (data.signs) return data.signs;
    /** @type {NonNullable<Data["signs"]>} */
    const found = new Map();
    data.verdicts?.forEach((state, i) => Object.hasOwn(SIGNS, state) && found.set(i, SIGNS[state]));
    for (const { state, at } of data.events)
      if (state === "accepted" && at !== null) found.set(at, { sign: "✓", colour: "muted" });
    return (data.signs = found);
  };

  /** @param {uPlot} u @param {Data} data @param {number[]} xs @param {number} scale */
  const drawVerdicts = (u, data, xs, scale) => {
    const { top } = u.bbox;
    const [from, to] = u.series[0].idxs;
    const pen = u.ctx;
    pen.textAlign = "center";
    pen.textBaseline = "top";
    pen.font = palette.font.replace("12px", `bold ${13 * scale}px`);
    pen.lineWidth = scale;
    for (const [i, { sign, colour }] of verdicts(data)) {
      if (i < from || i > to) continue;
      const x = u.valToPos(xs[i], "x", true);
      const y = data.test[i] === null ? top : Math.max(top, u.valToPos(data.test[i], "y", true));
      pen.strokeStyle = pen.fillStyle = palette[colour];
      pen.globalAlpha = 0.5;
      pen.beginPath();
      pen.moveTo(x, top + 16 * scale);
      pen.lineTo(x, Math.max(top + 16 * scale, y - 4 * scale));
      pen.stroke();
      pen.globalAlpha = 1;
      pen.fillText(sign, x, top + 2 * scale);
    }
  };

  wer.drawMarks = (u, data, xs) => {
    u.ctx.save();
    for (const draw of [drawBreaks, drawFailures, drawOffScale, drawVerdicts]) draw(u, data, xs, uPlot.pxRatio);
    u.ctx.restore();
  };
})();
