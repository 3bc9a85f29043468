// Questions about the runs, and the addresses of runs and commits.
(() => {
  "use strict";
  wer.isPath = (column) => column.values.some((value) => typeof value === "string" && value.includes("/"));

  /**
   * A key of the parameters and the test set. Paths do not count: they differ by machine and by run.
   * @param {Data} data
   * @returns {(i: number) => string}
   */
  const conditions = (data) => {
    const columns = [
      data.signatures,
      ...data.parameters.filter((column) => !wer.isPath(column)).map((column) => column.codes),
    ];
    return (i) => columns.map((column) => column[i]).join();
  };

  /** @param {Data} data @param {(i: number) => unknown} key */
  const findPrevious = (data, key) => {
    const last = new Map();
    return data.test.map((value, i) => {
      if (value === null) return null;
      const same = key(i);
      const before = last.get(same) ?? null;
      last.set(same, i);
      return before;
    });
  };

  /** The place of the measured run of the same test set before this one, or null. */
  wer.before = (data, i) => {
    data.before ||= findPrevious(data, (k) => data.signatures[k]);
    return data.before[i];
  };

  /**
   * The place of the last measured run before this one that has the same parameters and test set, or null.
   * @param {Data} data
   * @param {number} i
   */
  const previousOf = (data, i) => {
    data.previous ||= findPrevious(data, conditions(data));
    return data.previous[i];
  };

  /** @param {Data} data @param {number} i @param {number | null} before */
  const difference = (data, i, before) => {
    const [is, was] = [data.test[i], before === null ? null : data.test[before]];
    return is === null || was === null ? null : is - was;
  };

  /** The change of the test WER since the merge before, in percentage points, or null. */
  wer.delta = (data, i) => difference(data, i, wer.before(data, i));

  /** @type {Record<string, Direction>} */
  const DIRECTIONS = {
    worse: "worse",
    suspect: "suspect",
    better: "better",
    recovered: "better",
    unchanged: "noise",
    "no change seen": "noise",
  };

  /**
   * Whether a verdict says worse, better, suspect or (within) noise; null where it says none of them.
   * @param {string | undefined} state
   */
  const direction = (state) => (state && Object.hasOwn(DIRECTIONS, state) ? DIRECTIONS[state] : null);

  /**
   * What a run is compared with: {before, delta, direction, same, sameDelta, sameDirection}. `same` is the last run with
   * the same parameters, or null where that is the run before, too.
   */
  wer.changes = (data, i) => {
    const before = wer.before(data, i);
    const previous = previousOf(data, i);
    const same = previous === before ? null : previous;
    return {
      before,
      delta: difference(data, i, before),
      direction: direction(data.verdicts?.[i]),
      same,
      sameDelta: difference(data, i, same),
      sameDirection: data.sameDirections?.[i] || null,
      isFirst: before !== null && previous === null,
    };
  };

  wer.shortSha = (data, i) => data.shas[i].slice(0, 8);
  wer.failed = (data, i) => data.status[i] !== "done";
  wer.subject = (data, i) => (data.subjects ? data.subjects[i] : "");

  /** A part of an address. A lone surrogate has no encoding: encodeURIComponent throws at it. */
  wer.encode = (text) => encodeURIComponent(text.replace(/[\ud800-\udfff]/gu, "\ufffd"));
  wer.runHref = (id) => `#/run/${wer.encode(id)}`;

  /**
   * A text of others within a line of ours. Marks that turn the direction are left out; a text from right to left is
   * isolated, so that it turns nothing around it.
   * @param {string} text
   */
  const within = (text) => {
    const plain = text.replace(/[\u202a-\u202e\u2066-\u2069]/g, "");
    return /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/.test(plain) ? `\u2068${plain}\u2069` : plain;
  };

  /** "#11001 fix-warnings, by lissyx": what tells merges apart comes first, and nothing of it is cut. */
  wer.shortSubject = (subject, author) => {
    const [, number, owner, branch] = /^Merge pull request #(\d+) from ([^/\s]+)\/(.+)$/.exec(subject) ?? [];
    if (number) return `#${number} ${within(branch)}, by ${within(owner)}`;
    return author ? `${within(subject)}, by ${within(author)}` : subject;
  };

  /** The same of a run; "" until the subjects are there. */
  wer.about = (data, i) => (data.subjects ? wer.shortSubject(data.subjects[i], data.authors?.[i]) : "");

  /** @param {Project} project @param {string} path */
  const webUrl = (project, path) => {
    try {
      const url = new URL(`${project.url}/${path}`);
      return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
    } catch {
      return null;
    }
  };

  /** @param {string} text */
  const isSha = (text) => /^[0-9a-f]{7,64}$/.test(text);

  /** The address of a commit, or null where the repository has no http(s) address. */
  wer.commitUrl = (project, sha) => (isSha(sha) ? webUrl(project, `commit/${sha}`) : null);

  /** The address of a pull request on GitHub, or null elsewhere: other hosts have other addresses. */
  wer.pullUrl = (project, number) => {
    const url = webUrl(project, `pull/${number}`);
    return url && new URL(url).hostname === "github.com" ? url : null;
  };

  /** The address of what changed between two commits, or null; GitHub, GitLab, Gitea and Forgejo understand it. */
  wer.compareUrl = (project, before, sha) =>
    isSha(before) && isSha(sha) ? webUrl(project, `compare/${before}...${sha}`) : null;
})();
