// The strip under the chart: all runs in miniature, with a window that pointer and keyboard move and resize.
(() => {
  "use strict";
  const { el } = wer;
  /** @param {number} value @param {number} low @param {number} high */
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  /** @param {HTMLCanvasElement} canvas @param {RangeValues} values @param {string} colour */
  const outline = (canvas, values, colour) => {
    const scale = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth * scale, canvas.clientHeight * scale];
    if (!width) return;
    Object.assign(canvas, { width, height });
    const pen = canvas.getContext("2d");
    if (!pen) return;
    const [low, high] = wer.stats.robustRange([values.ys], 0, values.ys.length - 1);
    /** @param {number} at */
    const x = (at) => ((at - values.low) / (values.high - values.low)) * width;
    /** @param {number} wer_ */
    const y = (wer_) => height - clamp((wer_ - low) / (high - low), 0.02, 1) * (height - 4 * scale);
    const line = trace(values, x, y);
    pen.strokeStyle = pen.fillStyle = colour;
    pen.lineWidth = scale;
    pen.stroke(line.path);
    line.path.lineTo(line.last, height);
    line.path.lineTo(line.first, height);
    pen.globalAlpha = 0.13;
    pen.fill(line.path);
  };

  /**
   * A line through the measured runs, thinned out: there may be many more runs than pixels.
   * @param {RangeValues} values
   * @param {At} x
   * @param {At} y
   */
  const trace = ({ xs, ys }, x, y) => {
    const step = Math.max(1, Math.floor(xs.length / 2000));
    const path = new Path2D();
    /** @type {number | null} */
    let first = null;
    let last = 0;
    for (let i = 0; i < xs.length; i += step) {
      const value = ys[i];
      if (value === null) continue;
      last = x(xs[i]);
      first ??= last;
      path.lineTo(last, y(value));
    }
    return { path, first: first ?? 0, last };
  };

  /** @param {string} label @param {(event: KeyboardEvent) => void} move */
  const handle = (label, move) =>
    el("div", {
      class: "range-handle",
      role: "slider",
      tabindex: 0,
      "aria-label": label,
      "aria-orientation": "horizontal",
      onkeydown: move,
    });

  /** @type {Record<string, number>} */
  const STEPS = {
    ArrowLeft: -0.02,
    ArrowDown: -0.02,
    ArrowRight: 0.02,
    ArrowUp: 0.02,
    PageDown: -0.1,
    PageUp: 0.1,
    Home: -1,
    End: 1,
  };

  /** @param {number} span @param {(by: number) => void} act */
  const keys = (span, act) => (/** @type {KeyboardEvent} */ event) => {
    if (!(event.key in STEPS)) return;
    event.preventDefault();
    event.stopPropagation();
    act(STEPS[event.key] * span);
  };

  /** @param {RangeValues} values @param {HTMLElement} slider @param {number} at */
  const tell = (values, slider, at) => {
    slider.setAttribute("aria-valuemin", String(Math.floor(values.low)));
    slider.setAttribute("aria-valuemax", String(Math.ceil(values.high)));
    slider.setAttribute("aria-valuenow", String(Math.round(at)));
    slider.setAttribute("aria-valuetext", values.describe(at));
  };

  /**
   * Drags of the strip: of one of its ends, or of the whole window.
   * @param {HTMLElement} root
   * @param {RangeParts} parts
   * @param {RangeValues} values
   * @param {RangeMoves} moves
   */
  const dragging = (root, parts, values, { setFrom, setTo, moveBy, middle }) => {
    /** @param {PointerEvent} event */
    const at = (event) => {
      const box = root.getBoundingClientRect();
      return values.low + clamp((event.clientX - box.left) / box.width, 0, 1) * (values.high - values.low);
    };
    root.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      root.setPointerCapture(event.pointerId);
      let last = at(event);
      if (!parts.pane.contains(/** @type {Node} */ (event.target))) moveBy(last - middle());
      /** @param {PointerEvent} move */
      const follow = (move) => {
        const now = at(move);
        if (event.target === parts.left) setFrom(now);
        else if (event.target === parts.right) setTo(now);
        else moveBy(now - last);
        last = now;
      };
      const end = () => root.removeEventListener("pointermove", follow);
      root.addEventListener("pointermove", follow);
      root.addEventListener("lostpointercapture", end, { once: true });
    });
  };

  /**
   * range({xs, ys, low, high, describe(x)}, changed(from, to)) -> {root, show(from, to), draw()}
   * `low` and `high` are the ends of the axis.
   */
  wer.range = (values, changed) => {
    const span = values.high - values.low;
    const least = Math.min(span, Math.max(span / 500, values.least));
    let [from, to] = [values.low, values.high];
    /** @param {number} newFrom @param {number} newTo */
    const choose = (newFrom, newTo) => {
      show(newFrom, newTo);
      changed(from, to);
    };
    /** @param {number} part */
    const moveBy = (part) => {
      const step = clamp(part, values.low - from, values.high - to);
      choose(from + step, to + step);
    };
    /** @param {number} at */
    const setFrom = (at) => choose(clamp(at, values.low, to - least), to);
    /** @param {number} at */
    const setTo = (at) => choose(from, clamp(at, from + least, values.high));

    const canvas = el("canvas", { "aria-hidden": "true" });
    const left = handle("First run shown", keys(span, (by) => setFrom(from + by)));
    const right = handle("Last run shown", keys(span, (by) => setTo(to + by)));
    const pane = el("div", { class: "range-window" }, left, right);
    const root = el("div", { class: "range" }, canvas, pane);
    /** @param {number} newFrom @param {number} newTo */
    const show = (newFrom, newTo) => {
      [from, to] = [newFrom, newTo];
      pane.style.left = `${((from - values.low) / span) * 100}%`;
      pane.style.width = `${((to - from) / span) * 100}%`;
      tell(values, left, from);
      tell(values, right, to);
    };
    dragging(root, { pane, left, right }, values, { setFrom, setTo, moveBy, middle: () => (from + to) / 2 });
    show(from, to);
    return { root, show, draw: () => outline(canvas, values, wer.palette.test) };
  };
})();
