
// Tells ages by the visitor's clock, as long as the page is open. Without it the times in UTC stay, as they were written.
(() => {
  "use strict";
  const SLACK_S = 900;
  const DAY_S = 86400;

  /** @param {number} seconds */
  const ago = (seconds) => {
    if (seconds < 90) return "just now";
    if (seconds < 7200) return `${Math.round(seconds / 60)} min ago`;
    return seconds < 2 * DAY_S ? `${Math.round(seconds / 3600)} h ago` : `${Math.round(seconds / DAY_S)} days ago`;
  };

  /** @param {number} every @param {number} silence */
  const state = (every, silence) => {
    const fresh = every ? every + SLACK_S : 2 * DAY_S;
    const late = every ? Math.max(2 * every, every + 2 * SLACK_S) : 7 * DAY_S;
    return silence <= fresh ? "fresh" : silence <= late ? "late" : "silent";
  };

  const show = () => {
    for (const time of document.querySelectorAll("time")) {
      const at = Date.parse(time.dateTime);
      if (Number.isNaN(at)) continue;
      const silence = (Date.now() - at) / 1000;
      time.title = `${time.dateTime.slice(0, 19).replace("T", " ")} UTC`;
      time.textContent = ago(silence);
      const life = time.closest(".life");
      if (life) life.className = `life ${state(Number(time.dataset.every), silence)}`;
    }
  };

  show();
  setInterval(show, 60000);
})();
