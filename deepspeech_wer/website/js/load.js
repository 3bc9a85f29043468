// Loads the data: js/index.js or else js/hyper.js at the start, js/merges.js when idle, runs/<id>.js on demand.
// Scripts, not fetch: browsers block fetch on file://.
(() => {
  "use strict";
  const VERSION = 1; // of the data; dashboard/scripts.py writes the same

  /**
   * A damaged script counts as loaded too: `loaded` must check that the expected global is there.
   * @param {string} src
   * @param {() => void} loaded
   * @param {() => void} missing
   */
  const loadScript = (src, loaded, missing) => {
    const script = document.createElement("script");
    script.src = src;
    script.onload = () => (script.remove(), loaded());
    script.onerror = () => (script.remove(), missing());
    document.head.append(script);
  };

  wer.loadScript = loadScript;

  /** @param {string} title @param {string} text */
  const problem = (title, text) => ({ problem: { title, text } });

  /** @param {unknown} version */
  const newer = (version) =>
    problem(
      "The data is newer than this page",
      `It has version ${version}, this page reads ${VERSION}. Publish the page of the same release.`,
    );

  /** Calls `done` with {data} or {problem: {title, text}}. index.htm has run js/index.js by now. */
  wer.load = (done) => {
    const index = window.WER_INDEX;
    if (index && index.version > VERSION) return done(newer(index.version));
    if (index) {
      const data = attempt(() => wer.decode.fromIndex(index));
      if (data) return done({ data: complete(data, window.WER_LOOKED_AT, index.merges) });
    }
    return loadScript(
      "js/hyper.js",
      () => done(fromHyper()),
      () =>
        done(
          problem(
            "No data",
            "Neither js/index.js nor js/hyper.js could be read. The tracker writes both; were they published with the page?",
          ),
        ),
    );
  };

  /** @param {() => Columns} make */
  const attempt = (make) => {
    try {
      return make();
    } catch (error) {
      console.error(error);
      return null;
    }
  };

  const fromHyper = () => {
    const all = window.ALL_THE_DATA;
    const failed = Array.isArray(window.FAILED_RUNS) ? window.FAILED_RUNS : [];
    const project = { name: "Speech", url: null, branch: "" };
    const data = Array.isArray(all) ? attempt(() => wer.decode.fromRecords(all, failed, project)) : null;
    if (data) return { data: complete(data, undefined, null) };
    return problem(
      "The data is damaged",
      "js/hyper.js is there, but is not a whole list of runs. The tracker's next tick writes it anew.",
    );
  };

  /** @param {Columns} data @param {string | undefined} lookedAt @param {string | null} merges */
  const complete = (data, lookedAt, merges) => {
    /** @type {Map<string, number> | null} */
    let places = null; // of all ids, which are made only where a run is looked for
    const known = () => (places ??= new Map(data.ids.map((id, i) => [id, i])));
    /** @type {Data["places"]} */
    const found = { get: (id) => known().get(id), has: (id) => known().has(id) };
    return Object.assign(data, { lookedAt: wer.decode.seconds(lookedAt), merges, places: found });
  };

  /** Loads subjects and authors, which the first drawing can do without. The event `wer:merges` announces them. */
  wer.loadMerges = (data) => {
    if (data.subjects || data.merges === null) return;
    loadScript(
      `js/merges.js?${data.merges}`,
      () => {
        const merges = window.WER_MERGES;
        if (!merges || merges.count !== data.count) return; // from another build: none are better than wrong ones
        data.subjects = wer.decode.expand(merges.subjects, data.count);
        data.reasons = merges.reasons && wer.decode.expand(merges.reasons, data.count);
        data.authors = wer.decode.expand(merges.authors, data.count);
        data.evidence = new Map((merges.events ?? []).map((/** @type {Evidence} */ event) => [event.id, event]));
        document.dispatchEvent(new Event("wer:merges"));
      },
      () => {},
    );
  };

  /** Reads js/now.js anew. Calls `done`, or `missing` where there is none. */
  wer.loadNow = (done, missing) => loadScript(`js/now.js?${Date.now()}`, done, missing);

  const loaded = new Map();
  wer.run = (detail) => loaded.set(detail.id, detail); // runs/<id>.js calls it

  /** Calls `done` with the details of one run, or with null where they cannot be read. */
  wer.loadRun = (id, done) => {
    const given = () => {
      const detail = loaded.get(id);
      done(detail && detail.version <= VERSION ? detail : null);
    };
    if (loaded.has(id)) return given();
    return loadScript(`runs/${wer.encode(id)}.js`, given, () => done(null));
  };
})();
