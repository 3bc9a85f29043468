// Which parameters differ between two runs.
(() => {
  "use strict";
  /** [{name, was, is}] of the parameters that differ. Paths are left out: they differ by machine and by run. */
  wer.changedParameters = (data, before, i) =>
    data.parameters
      .filter((column) => !wer.isPath(column) && column.codes[before] !== column.codes[i])
      .map((column) => ({
        name: column.name,
        was: wer.format.value(column.values[column.codes[before]]),
        is: wer.format.value(column.values[column.codes[i]]),
      }))
      .filter(({ was, is }) => was !== is);
})();
