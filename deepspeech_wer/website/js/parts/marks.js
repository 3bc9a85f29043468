// Marks on the chart: failed runs, and runs whose WER is off the scale.
(() => {
  "use strict";
  const { lines, palette } = wer;

  const triangle = (pen, x, y, up, size) => {
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(x - size, y + (up ? 1.6 : -1.6) * size);
    pen.lineTo(x + size, y + (up ? 1.6 : -1.6) * size);
    pen.closePath();
    pen.fill();
  };

  /** A cross, or a plain tick where many runs are in view. */
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

  wer.drawMarks = (u, data, xs) => {
    const pen = u.ctx;
    const scale = uPlot.pxRatio;
    const { top, height } = u.bbox;
    const { min, max } = u.scales.y;
    const [from, to] = u.series[0].idxs;
    pen.save();
    pen.lineWidth = (lines.isDense(from, to) ? 1 : 2) * scale;
    pen.strokeStyle = palette.bad;
    for (let i = from; i <= to; i++) {
      const x = u.valToPos(xs[i], "x", true);
      if (wer.failed(data, i)) failure(pen, x, top + height - 7 * scale, 3.5 * scale, lines.isDense(from, to));
      lines.keys.forEach((_, n) => {
        const k = lines.keys.length - 1 - n; // backwards: the marks of the first line, the test WER, belong on top
        const key = lines.keys[k];
        const value = data[key][i];
        if (value === null || !u.series[k + 1].show || (value <= max && value >= min)) return;
        pen.fillStyle = palette[key];
        triangle(pen, x, value > max ? top + scale : top + height - scale, value > max, 4.5 * scale);
      });
    }
    pen.restore();
  };
})();
