// Which runs a search finds, and in which order.
(() => {
  "use strict";
  const { format } = wer;

  /** @type {Record<string, (data: Data, i: number) => number | null>} */
  const ORDERS = {
    merge: (_, i) => i,
    started: (data, i) => data.started[i],
    test: (data, i) => data.test[i],
    delta: (data, i) => wer.delta(data, i),
    validation: (data, i) => data.validation[i],
    train: (data, i) => data.train[i],
    took: (data, i) => data.took[i],
  };

  /**
   * A run matches if it contains every word: in its id, sha, number, status, day, subject or author. A word such
   * as `epochs=30` is compared with its parameters.
   * @param {Data} data
   * @param {string} words
   */
  const matcher = (data, words) => {
    const tests = words
      .trim()
      .toLowerCase()
      .split(/\s+/)
      .filter(Boolean)
      .map((word) => parameterTest(data, word) || textTest(data, word));
    return (/** @type {number} */ i) => tests.every((test) => test(i));
  };

  /** @param {Data} data @param {string} word @returns {(i: number) => boolean} */
  const textTest = (data, word) => (i) =>
    data.ids[i].toLowerCase().includes(word) ||
    data.shas[i].startsWith(word.slice(0, 12)) ||
    `№${data.ordinals[i]}` === word ||
    data.status[i].includes(word) ||
    format.date(data.started[i]).includes(word) ||
    Boolean(data.subjects && `${data.subjects[i]} ${data.authors?.[i]}`.toLowerCase().includes(word));

  /** @param {Data} data @param {string} word @returns {((i: number) => boolean) | null} */
  const parameterTest = (data, word) => {
    const [name, value] = word.split(/=(.*)/s);
    const column = value !== undefined && data.parameters.find((candidate) => candidate.name.toLowerCase() === name);
    if (!column) return null;
    const same = new Set(column.values.flatMap((other, code) => (String(other).toLowerCase() === value ? [code] : [])));
    return (i) => !wer.failed(data, i) && same.has(column.codes[i]);
  };

  /** @param {Data} data @param {{ q: string, status: string }} query */
  const select = (data, { q, status }) => {
    const matches = matcher(data, q);
    const isWanted = (/** @type {number} */ i) => status === "all" || (status === "failed") === wer.failed(data, i);
    return data.started.map((_, i) => i).filter((i) => isWanted(i) && matches(i));
  };

  /**
   * Missing values come last in either direction.
   * @param {Data} data
   * @param {number[]} places
   * @param {{ by: string, down: boolean }} order
   */
  const sort = (data, places, { by, down }) => {
    const keys = new Map(places.map((i) => [i, ORDERS[by](data, i)]));
    return places.sort((a, b) => {
      const [x, y] = [keys.get(a) ?? null, keys.get(b) ?? null];
      if (x === null || y === null) return Number(x === null) - Number(y === null) || b - a;
      return (down ? y - x : x - y) || b - a;
    });
  };

  /** @param {string} name */
  const isOrder = (name) => Object.hasOwn(ORDERS, name);

  wer.search = { select, sort, isOrder };
})();
