// Questions about the runs, and the addresses of runs and commits.
(() => {
  "use strict";
  wer.isPath = (column) => column.values.some((value) => typeof value === "string" && value.includes("/"));

  /** A key of the parameters and the test set. Paths do not count: they differ by machine and by run. */
  const conditions = (data) => {
    const columns = [
      data.signatures,
      ...data.parameters.filter((column) => !wer.isPath(column)).map((column) => column.codes),
    ];
    return (i) => columns.map((column) => column[i]).join();
  };

  const findPrevious = (data) => {
    const last = new Map();
    const key = conditions(data);
    return data.test.map((value, i) => {
      if (value === null) return null;
      const same = key(i);
      const before = last.get(same) ?? null;
      last.set(same, i);
      return before;
    });
  };

  /** The place of the last measured run before this one that has the same parameters and test set, or null. */
  wer.previous = (data, i) => (data.previous ||= findPrevious(data))[i];

  /** The change of the test WER since the previous run, in percentage points, or null. */
  wer.delta = (data, i) => {
    const before = wer.previous(data, i);
    return before === null ? null : data.test[i] - data.test[before];
  };

  wer.failed = (data, i) => data.status[i] !== "done";
  wer.subject = (data, i) => (data.subjects ? data.subjects[i] : "");
  wer.runHref = (id) => `#/run/${encodeURIComponent(id)}`;

  /** The address of a commit, or null where the repository has no http(s) address. */
  wer.commitUrl = (project, sha) => {
    if (!/^[0-9a-f]{7,64}$/.test(sha)) return null;
    try {
      const url = new URL(`${project.url}/commit/${sha}`);
      return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
    } catch {
      return null;
    }
  };
})();
