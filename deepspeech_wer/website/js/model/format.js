// Numbers and times as text. WERs come in per cent, times in seconds since 1970 UTC.
(() => {
  "use strict";
  const NONE = "–";
  /** @param {string} text @param {number} value */
  const signed = (text, value) => (value < 0 ? `−${text}` : value > 0 ? `+${text}` : `±${text}`);
  const grouped = new Intl.NumberFormat("en").format;

  /** @param {number} seconds */
  const iso = (seconds) => {
    const time = new Date(seconds * 1000);
    return Number.isNaN(time.getTime()) ? "" : time.toISOString();
  };

  /** @type {Format} */
  const format = {
    none: NONE,
    count: grouped,
    number: (value) => (value === null ? NONE : value.toFixed(2).replace("-", "−")),
    percent: (value) => (value === null || value === undefined ? NONE : `${value.toFixed(2)} %`),
    points: (value) => (value === null ? NONE : `${signed(Math.abs(value).toFixed(2), Math.round(value * 100))} pp`),
    plural: (count, one, many) => `${grouped(count)} ${count === 1 ? one : many}`,

    date: (seconds) => (seconds === null ? NONE : iso(seconds).slice(0, 10)),
    minute: (seconds) => (seconds === null ? NONE : iso(seconds).slice(0, 16).replace("T", " ")),
    exact: (seconds) => (seconds === null ? NONE : `${iso(seconds).slice(0, 19).replace("T", " ")} UTC`),
    local: (seconds) =>
      new Date(seconds * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "medium" }) + " local time",

    duration: (seconds) => {
      if (seconds === null) return NONE;
      if (seconds < 60) return `${Math.round(seconds)} s`;
      const minutes = Math.round(seconds / 60);
      if (minutes < 60) return `${minutes} min`;
      const hours = Math.floor(minutes / 60);
      return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.round(hours / 24)} days`;
    },

    /** The time since a moment, by the visitor's clock: "3 h ago". */
    ago: (seconds, now = Date.now() / 1000) => {
      const past = now - seconds;
      if (past < -86_400) return "by a clock that was ahead";
      if (past < 90) return "just now";
      if (past < 5400) return `${Math.round(past / 60)} min ago`;
      return past < 172_800 ? `${Math.round(past / 3600)} h ago` : `${Math.round(past / 86_400)} days ago`;
    },

    /** "2nd", for "2nd attempt". */
    nth: (count) => {
      const ending = { 1: "st", 2: "nd", 3: "rd" }[count % 10];
      return `${count}${ending && Math.floor((count % 100) / 10) !== 1 ? ending : "th"}`;
    },

    bytes: (count) =>
      count < 1000 ? `${count} B` : count < 1e6 ? `${(count / 1e3).toFixed(0)} kB` : count < 1e9 ? `${+(count / 1e6).toPrecision(3)} MB` : `${+(count / 1e9).toPrecision(3)} GB`,

    /** A measured number, as people write it: 4 digits. */
    rounded: (value) => {
      if (typeof value !== "number" || Number.isInteger(value)) return wer.format.value(value);
      return wer.format.value(Number(value.toPrecision(4)));
    },

    /** A parameter's value: short, but two different values never look the same. */
    value: (value) => {
      if (value === undefined) return "not set";
      if (typeof value !== "number") return String(value);
      return value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential().replace("e-", "e−") : String(value);
    },

    /** A sentence of the tracker's, with arrows and minus signs instead of what a terminal shows for them. */
    prose: (text) => text.replaceAll(" -> ", " → ").replace(/(^|[\s(])-(?=\.?\d)/g, "$1−"),

    /** The number of errors and of words, or null where the size of the test set is unknown. */
    errors: (data, i, between = " errors in ", after = " words") => {
      const words = data.words[i];
      if (!words || data.test[i] === null) return null;
      return `${grouped(Math.round((data.test[i] / 100) * words))}${between}${grouped(words)}${after}`;
    },
  };

  wer.format = format;
})();
