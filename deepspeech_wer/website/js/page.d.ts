// The types of the page's scripts, for `tsc --checkJs` in bin/test and for editors. It is not published.
// What scripts share is on `wer`; a name is documented where it is defined.

type Child = Node | string | number | false | null | undefined | Child[];
type Attributes = Record<string, any> | null;
type LineKey = "test" | "validation" | "train";
type Percent = number | null; // null: not measured
type Direction = "worse" | "better" | "suspect" | "noise" | null;

/** A hyper-parameter: values[codes[i]] is that of run i; code -1: not set. */
type Value = string | number | boolean | null | undefined; // undefined: not set

interface Column {
  name: string;
  values: Value[];
  codes: Int32Array;
}

/** A step of the WER, as js/index.js has it. `at` and `closed` are places of runs. */
interface Step {
  id: string;
  state: string;
  at: number | null;
  closed: number | null;
  step: number;
  interval: [number, number];
}

/** The same, as js/merges.js has it: with the evidence. Later versions may add more. */
interface Evidence {
  id: string;
  start: string;
  state: string;
  culprits: [sha: string, chance: number][];
  closed_by: string | null;
  retrained: number;
  trained: { sha: string; runs: Training[] }[];
  test_set?: string | null; // which one shows it; null: the main one
  sets?: Record<string, SetEffect> | null; // where there are several
  why: { who: string; why: string; at: string } | null;
  blame?: Blame[];
  range_url?: string | null;
}

type Training = [id: string, rate: Percent, failure: string | null];

/** A step on one of several test sets. */
interface SetEffect {
  step_pp: number;
  interval_pp: [number, number];
  state: string;
}

/** A merge that may have done it, as blame.py tells; a field that is not known is null or absent. */
interface Blame {
  sha?: string;
  run?: string | null; // null: it was never trained
  author?: string | null;
  url?: string | null;
  request?: string | null; // "#12", or "!12" on GitLab
  request_url?: string | null;
  files?: [path: string, added: number | null, removed: number | null][];
  files_count?: number | null;
}

interface Project {
  name: string;
  url: string | null;
  branch: string;
  audio?: string; // where recordings are; {id} stands for an utterance
}

/** Every run by its place in the history, as columns. Times are in seconds since 1970 UTC. */
interface Data {
  project: Project;
  count: number;
  ids: string[];
  shas: string[]; // 12 characters
  ordinals: number[];
  started: (number | null)[];
  committed: (number | null)[];
  took: (number | null)[];
  attempts: number[];
  status: string[];
  details: Map<number, string>;
  test: Percent[];
  validation: Percent[];
  train: Percent[];
  words: (number | null)[];
  signatures: (number | string)[];
  parameters: Column[];
  // load.js adds them
  places: { get(id: string): number | undefined; has(id: string): boolean };
  lookedAt: number | null;
  merges: string | null;
  skipped: number;
  records: HyperRecord[] | null; // where the page was opened from js/hyper.js
  // the verdicts; null or empty where nobody judged
  verdicts: string[] | null;
  headline: [state: string, sentence: string, place: number | null] | null;
  noise: string | null;
  bands: (number | null)[] | null; // half the 95 % interval of one training, in percentage points
  marks: [place: number, text: string, isNewSeries: boolean][];
  events: Step[];
  before: (number | null)[] | null;
  previous: (number | null)[] | null;
  sameDirections: Direction[] | null;
  // loaded when idle
  subjects: string[] | null;
  authors: string[] | null;
  reasons: string[] | null;
  evidence: Map<string, Evidence> | null;
  // computed once
  breaks?: number[];
  medians?: Record<string, Percent[]>;
  signs?: Map<number, { sign: string; colour: Colour }>;
  effects?: Effects;
}

/** The columns of the data, before load.js adds what comes from elsewhere. */
type Columns = Omit<Data, "places" | "lookedAt" | "merges">;

/** Values by run lengths: [code, how often, code, how often ...]. */
interface Coded {
  values: any[];
  codes: number[];
}

/** window.WER_INDEX of js/index.js, as dashboard/columns.py and dashboard/scripts.py write it. */
interface IndexJs {
  version: number;
  project: Project;
  merges: string;
  count: number;
  shas: string;
  started: (number | null)[];
  ids: [place: number, id: string][];
  ordinals: number[];
  committed: (number | null)[];
  took: (number | null)[];
  attempts: number[];
  status: Coded;
  details: [place: number, text: string][];
  test_wer: Percent[];
  last_validation_wer: Percent[];
  last_train_wer: Percent[];
  words: any[];
  signatures: Coded;
  parameters: ({ name: string } & Coded)[];
  verdicts?: Coded;
  before?: number[];
  same?: number[];
  same_direction?: Coded;
  bands?: any[];
  headline?: Data["headline"];
  noise?: string | null;
  marks?: Data["marks"];
  events?: Step[];
}

/** A record of js/hyper.js: the contract of 2016, and `run` where this tracker wrote it. Anything may be absent. */
interface HyperRecord {
  run?: Record<string, any>;
  context?: Record<string, any>;
  parameters?: Record<string, any>;
  results?: Record<string, any>;
}

type Loaded = { data: Data; problem?: undefined } | { data?: undefined; problem: { title: string; text: string } };

/** The runs with one value of a parameter. */
interface Group {
  label: string;
  labels: (string | null)[];
  value: Value;
  mean: number;
  half: number | null; // half the 95 % interval of the mean
  count: number;
}

/** What parameters that always change together do to the test WER. */
interface Effect {
  names: string[];
  groups: Group[];
  best: Group | null;
  numeric: boolean;
}

interface Effects {
  effects: Effect[];
  constant: [name: string, value: string][];
  tooMany: string[];
  detrended: boolean;
  runs: number;
  diverged: number;
}

/** The measured runs, with the progress of the code taken out of their WER. */
interface Comparable {
  places: number[];
  wers: number[];
  diverged: boolean[];
  detrended: boolean;
}

type GpuMetric =
  | "gpu_percent"
  | "memory_controller_percent"
  | "memory_used_mib"
  | "memory_total_mib"
  | "temperature_celsius"
  | "power_watts";

/** Columns of values, null where not available; a metric that a GPU never tells is absent. */
interface Gpu extends Partial<Record<GpuMetric, (number | null)[]>> {
  index: number;
}

/** The load of GPUs in buckets of so many seconds. */
interface GpuUsage {
  every: number;
  count: number;
  gpus: Gpu[];
}

type GpuFound = (i: number | null, usage: GpuUsage | null) => void;

interface EpochTable {
  names: string[];
  rows: (number | null)[][];
}

interface Log {
  name: string;
  text: string;
  bytes: number;
}

/** runs/<id>.js */
interface Detail {
  version: number;
  id: string;
  sha: string;
  subject: string;
  author: string;
  machine: string;
  detail: string;
  parameters: [string, any][];
  results: [string, any][];
  epochs: EpochTable | null;
  gpu: GpuUsage | null;
  logs: Log[];
  files: [name: string, bytes: number][];
  variables?: Record<string, string> | null;
  heard?: HeardRecord | null;
}

/** The tracker's own figures of a run on a test set. Rates are fractions; null where there is no reference word. */
interface Figures {
  set: string;
  file: string;
  test_set: string;
  utterances: number;
  missing: number;
  words: { substitutions: number; deletions: number; insertions: number; reference: number };
  sentence_error_rate: number;
  interval: { low: number; high: number; by: string; clusters: number } | null;
  wer: number | null;
  cer: number | null;
}

/** Which utterances changed for good, and how many would by noise. */
interface Lasting {
  newest: number;
  before: number;
  worse: number;
  better: number;
  worse_by_noise: number;
  better_by_noise: number;
  worse_places: number[]; // in the test set
  better_places: number[];
}

/** What the tracker found in a run's utterances. */
interface HeardRecord {
  sets: Figures[];
  trouble: string | null;
  remark: string | null;
  differs: string[];
  is_shown: boolean;
  against: {
    run: string;
    sha: string;
    sentence: string;
    sets: { set: string; by_noise: number | null; basis: string; lasting: Lasting | null }[];
  } | null;
  noise: { sigma_pp: number; sigma_df: number; between_pp: number } | null;
}

/** sets/<name>.js */
interface Said {
  version: number;
  set: string;
  test_set: string;
  ids: string[];
  names: string[];
  speakers: number[]; // places in names; -1: unknown
  words: number[];
  seconds: (number | null)[] | null;
  parts: number[]; // the place at which each part of the texts begins
}

/** A run's errors on one test set, of runs/<id>/edits.js */
interface HeardSet {
  name: string;
  edits: string[];
  missing: number[];
  said: Said;
}

interface Utterance {
  place: number;
  other: number | null; // its place in the other run's test set
  errors: number;
  before: number | null; // errors in the other run
  words: number;
}

interface Sum {
  key: any;
  utterances: number;
  words: number;
  errors: number;
  before: number | null;
}

interface WordError {
  said: string | null;
  heard: string | null;
  count: number;
  before: number | null;
}

/** A rate of two runs. `sets` are the figures of both, where the tracker has them. */
interface PairRow {
  label: string;
  before: Percent;
  after: Percent;
  change: number | null;
  state: string;
  isSame?: boolean; // the same test set
  sets?: [Figures, Figures];
}

type Details = [before: Detail | null, after: Detail | null];

/** The words of two runs on a test set that both have. */
interface ComparedWords {
  run: HeardSet;
  against: HeardSet;
  before: string;
  after: string;
  rows: Utterance[];
}

interface UtterancesState {
  set: string;
  list: string;
  q: string;
  page: number;
}

/** What the view of utterances shows: those of a run on a test set, alone or against another run. */
interface ShownUtterances {
  id: string;
  other: string | null;
  detail: Detail | null;
  run: HeardSet;
  against: HeardSet | null;
  labels: string[];
  rows: Utterance[];
  names: string[];
  lasting: Lasting | null;
  i: number;
  o: number | null;
  choose(set: string): void;
  isCurrent(): boolean;
}

type HeardLoaded = (detail: Detail | null, mine: HeardSet[] | null, theirs: HeardSet[] | null) => void;

interface RunsState {
  q: string;
  status: string;
  by: string;
  down: boolean;
  page: number;
}

type ChangeRuns = (part: Partial<RunsState>) => void;

interface Pair {
  rows: PairRow[];
  sentence: string | null;
  noise: string[];
  parameters: Parameter[];
  doubts: string[];
  merges: number[];
}

/** js/now.js, with times in seconds. */
interface Now {
  lookedAt: number;
  every: number; // seconds until the next, at most; 0: nobody knows
  waiting: number;
  index: string | null;
  job: Job | null;
}

/** What runs now. It comes from a job's output, so that every field may be absent or of another kind. */
interface Job {
  sha: string;
  subject: string;
  author: string;
  attempt: number;
  again: boolean;
  started_at: string;
  ends_at: string | null;
  epoch: number | null;
  epochs: number | null;
  curve: (number | null)[][]; // epoch, loss in training, loss in validation
  beside?: { sha: string; subject: string; author: string }[]; // what else trains, on a cluster
}

interface Route {
  view: string;
  rest: string[];
  query: URLSearchParams;
}

/** A view. `place` is where its link stands in the head; without one it has no link. */
interface View {
  name: string;
  title: string;
  place?: number;
  draw(root: HTMLElement, data: Data, route: Route): (() => void) | null;
}

interface Changes {
  before: number | null;
  delta: number | null;
  direction: Direction;
  same: number | null;
  sameDelta: number | null;
  sameDirection: Direction;
  isFirst: boolean;
}

interface Parameter {
  name: string;
  was: string;
  is: string;
}

interface TableColumn<Row> {
  title: Child;
  class?: string;
  sorted?: string | null;
  name?: string;
  cell(row: Row): Child;
}

interface Axis {
  xs: number[];
  low: number;
  high: number;
  least: number;
  describe(x: number): string;
}

type Scale = [low: number, high: number];
type At = (value: number) => number; // to pixels
type Percents = (number | null | undefined)[];

interface Box {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

interface Curve {
  label: string;
  ys: Percents;
}

interface Curves {
  xs: number[];
  series: Curve[];
  unit?: string;
  least?: number; // a y that is always shown
  describe?(x: number): string;
}

interface AlignedColumn {
  said: string | null;
  heard: (string | null | undefined)[];
}

interface ChartLine {
  key: LineKey;
  label: string;
  dash: number[];
}

interface ChartState {
  kind: string; // "merge" or "date"
  from: number | null;
  to: number | null;
  hidden: Set<string>;
}

interface ChartEvents {
  range(from: number, to: number, whole: boolean): void;
  open(i: number): void;
}

interface ChartActions {
  zoom(low: number, high: number): void;
  point(u: uPlot): void;
  range(low: number, high: number): void;
  focus(i: number): void;
  blur(): void;
  open(i: number): void;
}

interface Tooltip {
  root: HTMLElement;
  marker: HTMLElement;
  show(i: number, left: number, width: number, pinned?: boolean): void;
  hide(): void;
}

interface Strip {
  root: HTMLElement;
  draw(): void;
  show(from: number, to: number): void;
}

interface ChartParts {
  tooltip: Tooltip;
  live: HTMLElement;
  strip: Strip;
}

interface Chart {
  root: HTMLElement;
  axis: Axis;
  start(): void;
  show(key: string, isOn: boolean): void;
  zoom(low: number, high: number): void;
  destroy(): void;
}

/** A group of buttons, one of which is pressed; `press` changes which. */
type Choice = HTMLElement & { press(key: string | null): void };

interface UtteranceShown {
  row: Utterance;
  text: string | null; // what was said; null if it could not be read
  run: HeardSet;
  against: HeardSet | null;
  labels: string[];
}

interface Plot {
  u: uPlot;
  stop(): void;
}

/** What the page uses of uPlot, which comes without types. */
type uPlot = any;
type UPlotPaths = (u: uPlot, s: number, from: number, to: number) => any;

/** Text of numbers and times; null is "not known". Rates in per cent, times in seconds. */
interface Format {
  none: string;
  count(value: number | null): string;
  number(value: number | null): string;
  percent(value: Percent | undefined): string;
  points(value: number | null): string;
  plural(count: number, one: string, many: string): string;
  date(seconds: number | null): string;
  minute(seconds: number | null): string;
  exact(seconds: number | null): string;
  local(seconds: number): string;
  duration(seconds: number | null): string;
  ago(seconds: number, now?: number): string;
  nth(count: number): string;
  bytes(count: number): string;
  rounded(value: unknown): string;
  value(value: unknown): string;
  prose(text: string): string;
  errors(data: Data, i: number, between?: string, after?: string): string | null;
}

type Colour = LineKey | "muted" | "grid" | "bad" | "good" | "warn" | "text" | "card";

/** The colours of page.css, for the canvas. */
type Palette = Record<Colour, string> & { font: string; isForced: boolean };

/** What the strip under the chart shows: an axis, and the WER at each place of it. */
type RangeValues = Axis & { ys: Percent[] };

interface RangeParts {
  pane: HTMLElement;
  left: HTMLElement;
  right: HTMLElement;
}

interface RangeMoves {
  setFrom(at: number): void;
  setTo(at: number): void;
  moveBy(part: number): void;
  middle(): number;
}

interface Wer {
  // model/
  format: Format;
  stats: {
    median(values: number[]): number | null;
    rollingMedian(values: Percent[], reach: number): Percent[];
    interval(values: number[]): { mean: number; half: number | null; count: number };
    robustRange(columns: Percent[][], from: number, to: number): Scale;
    ticks(low: number, high: number, count: number): { at: number; text: string }[];
  };
  decode: {
    fromIndex(index: IndexJs): Columns;
    fromRecords(all: any[], failed: any[], project: Project): Columns;
    expand(runLengths: any[], count: number): any[];
    flatten(record: object, prefix?: string, out?: Map<string, any>): Map<string, any>;
    seconds(text: unknown): number | null;
  };
  isPath(column: Column): boolean;
  before(data: Data, i: number): number | null;
  delta(data: Data, i: number): number | null;
  changes(data: Data, i: number): Changes;
  changedParameters(data: Data, before: number, i: number): Parameter[];
  failed(data: Data, i: number): boolean;
  subject(data: Data, i: number): string;
  shortSubject(subject: string, author: string | undefined): string;
  about(data: Data, i: number): string;
  shortSha(data: Data, i: number): string;
  encode(text: string): string;
  runHref(id: string): string;
  commitUrl(project: Project, sha: string): string | null;
  compareUrl(project: Project, before: string, sha: string): string | null;
  pullUrl(project: Project, number: string): string | null;
  axis(data: Data, kind: string): Axis;
  csv(data: Data, places: number[]): string;
  search: {
    select(data: Data, wanted: { q: string; status: string }): number[];
    sort(data: Data, places: number[], order: { by: string; down: boolean }): number[];
    isOrder(name: string): boolean;
  };
  effects(data: Data): Effects;
  aligned: {
    count(text: string): number;
    decode(text: string): { place: number; said: string | null; heard: string | null }[];
    columns(reference: string, texts: string[]): { said: string | null; heard: (string | null | undefined)[] }[];
    kind(said: string | null, heard: string | null | undefined): "right" | "other" | "lost" | "added" | "none";
  };
  heard: {
    utterances(run: HeardSet, against: HeardSet | null): Utterance[];
    list(rows: Utterance[], name: string): Utterance[];
    counts(rows: Utterance[]): { wrong: number; worse: number; better: number };
    bySpeaker(rows: Utterance[], said: Said): Sum[];
    byLength(rows: Utterance[]): Sum[];
    lengthName(bound: number): string;
    words(rows: Utterance[], run: HeardSet, against: HeardSet | null): Record<string, WordError[]>;
  };
  pair: {
    of(data: Data, a: number, b: number, before: Detail | null, after: Detail | null): Pair;
    markdown(data: Data, a: number, b: number, found: Pair, words: WordError[]): string;
  };
  utterancesHref(id: string, against: string | null): string;
  compareHref(before: string, after: string): string;
  audioUrl(base: string | undefined, id: string): string | null;
  // load.js
  loadScript(src: string, loaded: () => void, missing: () => void): void;
  load(done: (found: Loaded) => void): void;
  loadMerges(data: Data): void;
  loadRun(id: string, done: (detail: Detail | null) => void): void;
  run(detail: Detail): void;
  loadNow(done: () => void, missing: () => void): void;
  // heard.js
  said(record: Said): void;
  texts(record: { set: string; part: number; texts: string[] }): void;
  edits(record: { run: string; version: number; sets: object[] }): void;
  loadHeard(run: string, done: (sets: HeardSet[] | null) => void): void;
  loadTexts(said: Said, places: number[], done: (texts: (string | null)[]) => void): void;
  // parts/
  toggleTheme(): void;
  palette: Palette;
  el<Tag extends keyof HTMLElementTagNameMap>(
    tag: Tag,
    attributes?: Attributes,
    ...children: Child[]
  ): HTMLElementTagNameMap[Tag];
  svg(tag: string, attributes?: Attributes, ...children: Child[]): SVGElement;
  bdi(text: string, attributes?: Attributes): HTMLElement;
  byId(id: string): HTMLElement;
  replace(parent: Element, ...children: Child[]): Element;
  outside(href: string | null, ...children: Child[]): HTMLElement;
  setAddress(hash: string): void;
  flushAddress(): void;
  download(name: string, text: string, type: string): void;
  places: { start(): void; arrive(root: HTMLElement): void };
  views: {
    add(view: View): void;
    find(name: string): View | null;
    linked(): View[];
    safely<Result>(root: Element, work: () => Result): Result | null;
  };
  card(title: Child, attributes: Attributes, ...children: Child[]): HTMLElement;
  cardOfSome(title: string, href: string, text: string, ...children: Child[]): HTMLElement;
  tile(label: string, value: Child, unit: string, ...notes: Child[]): HTMLElement;
  notice(title: string, text: string, ...more: Child[]): HTMLElement;
  message(title: string, text: string, ...more: Child[]): HTMLElement;
  heading(title: Child, ...about: Child[]): Child[];
  choice(label: string, options: string[][], chosen: string | null, choose: (key: string) => void): Choice;
  table<Row>(label: string, columns: TableColumn<Row>[], rows: Row[]): HTMLElement;
  runLink(data: Data, i: number): HTMLElement;
  change(delta: number | null, direction?: Direction): HTMLElement;
  parameterList(changed: Parameter[]): HTMLElement;
  verdict(state: string | undefined): HTMLElement | null;
  runColumns(data: Data, ...names: string[]): TableColumn<number>[];
  range(values: RangeValues, changed: (from: number, to: number) => void): Strip;
  tooltip(data: Data): Tooltip;
  lines: {
    keys: LineKey[];
    isDense(from: number, to: number): boolean;
    breaks(data: Data): number[];
    medians(data: Data): Record<string, Percent[]>;
    series(data: Data): object[];
    columns(data: Data): Percent[][];
    bands(): object[];
    isShown(u: uPlot, key: string): boolean;
    show(u: uPlot, key: string, isOn: boolean): void;
    legend(hidden: Set<string>, changed: (key: string, isOn: boolean) => void): HTMLElement;
  };
  drawMarks(u: uPlot, data: Data, xs: number[]): void;
  chart(data: Data, state: ChartState, on: ChartEvents): Chart;
  overviewChart(data: Data, query: URLSearchParams): { card: HTMLElement; start(): void; destroy(): void };
  plot(effect: Effect, width: number, height: number, scale?: Scale): Element;
  plotRange(groups: Group[]): Scale;
  spark(data: Data, at: number, label: string, width?: number, height?: number): Element;
  curves(title: string, curves: Curves): HTMLElement | null;
  gpuCharts(usage: Detail["gpu"] | undefined): HTMLElement | null;
  gpuBeside(usage: NonNullable<Detail["gpu"]>, before: Detail["gpu"], label: string): HTMLElement;
  alignment(reference: string, labels: string[], texts: string[]): HTMLElement;
  alignmentKey(): HTMLElement;
  utterance(data: Data, shown: UtteranceShown): HTMLElement;
  wordTables(found: Record<string, WordError[]>, isCompared: boolean): HTMLElement;
  sumsCards(rows: Utterance[], said: Said, most: number): HTMLElement;
  troubles(record: HeardRecord | null | undefined): HTMLElement | null;
  heardCard(id: string, record: HeardRecord | null | undefined): HTMLElement | null;
  copyButton(label: string, make: () => string): HTMLElement;
  gpuHref(id: string): string;
  stepText(event: Pick<Step, "step" | "interval">): string;
  regressionHref(id: string): string;
  own<Found>(table: Record<string, Found>, name: string | null | undefined): Found | null;
  changeNotes(data: Data, i: number): Child[];
  paging: {
    searchField(text: string, placeholder: string, changed: (text: string) => void): HTMLElement;
    wanted(query: URLSearchParams): number;
    within(page: number, count: number, size: number): number;
    slice<Row>(rows: Row[], page: number, size: number): Row[];
    pager(page: number, count: number, size: number, turn: (to: number) => void): HTMLElement | null;
  };
  openRegressions(data: Data): HTMLElement | null;
  now: {
    read(): Now | null;
    stateOf(now: Now, silent: number): string;
    show(place: HTMLElement): () => void;
    renew(): void;
  };
}

declare var wer: Wer;
declare var uPlot: any; // the constructor

interface Window {
  wer: any; // parts/theme.js makes it, the other scripts fill it
  WER_INDEX?: IndexJs;
  WER_LOOKED_AT?: string;
  WER_MERGES?: any;
  WER_NOW?: any;
  ALL_THE_DATA?: unknown;
  FAILED_RUNS?: unknown;
}
