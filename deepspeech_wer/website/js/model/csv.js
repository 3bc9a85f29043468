// Runs as comma-separated values, for spreadsheets.
(() => {
  "use strict";
  const { format } = wer;

  /**
   * A spreadsheet runs text that starts like a formula, so an apostrophe goes in front of it.
   * @param {unknown} value
   */
  const cell = (value) => {
    if (value === null || value === undefined) return "";
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };

  wer.csv = (data, places) => {
    const fixed = [
      "id",
      "sha",
      "merge",
      "started",
      "subject",
      "author",
      "status",
      "test_wer",
      "validation_wer",
      "train_wer",
      "seconds",
    ];
    /** @param {Percent} value */
    const rate = (value) => (value === null ? null : +(value / 100).toFixed(5));
    const rows = places.map((i) => [
      data.ids[i],
      data.shas[i],
      data.ordinals[i],
      format.exact(data.started[i]).replace(" UTC", "Z").replace(" ", "T"),
      wer.subject(data, i),
      data.authors?.[i],
      data.status[i],
      rate(data.test[i]),
      rate(data.validation[i]),
      rate(data.train[i]),
      data.took[i],
      ...data.parameters.map((column) => (wer.failed(data, i) ? null : column.values[column.codes[i]])),
    ]);
    return (
      [[...fixed, ...data.parameters.map((column) => column.name)], ...rows]
        .map((row) => row.map(cell).join(","))
        .join("\r\n") + "\r\n"
    );
  };
})();
