// #/view/rest?query -> a view. Every view is an entry of wer.views: {title, draw(root, data, {rest, query}) -> clean-up or null}.
(() => {
  "use strict";

  const decode = (text) => {
    try {
      return decodeURIComponent(text);
    } catch {
      return text; // a lone `%` typed by hand
    }
  };

  wer.route = (hash) => {
    const [path, query] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
    const [view, ...rest] = path.split("/").map(decode);
    return { view: view || "overview", rest, query: new URLSearchParams(query || "") };
  };

  /** Note the state in the address without drawing again. */
  wer.setAddress = (hash) => {
    if (location.hash !== hash) history.replaceState(null, "", hash);
  };
})();
