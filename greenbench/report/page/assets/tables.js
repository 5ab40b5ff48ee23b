"use strict";
// Tables of runs: sorted by a button in each title, filled in portions, one per group.

const PORTION = 100;

/** A column of numbers: its title, how to read the number, how to show it, the sign before it. */
function numeric(head, get, text = show, { sign = () => "", first = false } = {}) {
  return { head, first, value: (run) => get(run).value, cell: (run, note) => `${sign(run)} ${text(get(run), note)}`.trim() };
}

const ratio = (name) => (run) => read(run, "ratios", name);
const candidate = (name) => (run) => read(run, "candidate", name);
const derived = (name) => (run) => read(run, "derived", name);
const WORDS = ["saves", "equivalent", "inconclusive", "costs"];
function verdictColumn(head, name) {
  return {
    head, mayGo: true,
    value: (run) => {
      const verdict = verdictOf(run, name);
      return verdict && !verdict.barred ? WORDS.indexOf(verdict.word) : null;
    },
    cell: (run, note) => verdictText(verdictOf(run, name), note),
  };
}

const ENERGY_LABEL = {
  head: "energy label", mayGo: true,
  value: (run) => run.energyLabel[0] || null,
  cell: (run, note) => run.energyLabel[0] || `\u2013 ${note(run.energyLabel[1])}`,
};
const FRONTIER = {
  head: "frontier, % of draws",
  value: (run) => run.probability,
  cell: (run) => `${run.frontier ? "★ " : ""}${run.share}`,
};
const ENERGY = numeric("J/token", candidate("energy_per_token_j"));
const PROVENANCE = {
  head: "provenance",
  mayGo: true,
  value: (run) => candidate("energy_per_token_j")(run).provenance,
  cell: (run) => candidate("energy_per_token_j")(run).provenance,
};

const BOTH_EAGER = numeric("J/token ratio, both eager", derived("energy_per_token_both_eager"));
const RAN_EAGER = DATA.runs.some((run) => BOTH_EAGER.value(run) !== null);

const HAS_ROOF = DATA.runs.some((run) => derived("roofline_baseline")(run).value !== null);

const COLUMNS = {
  "Headline": [
    numeric("quality change, points", derived("quality_change"), show, { sign: (run) => run.lost, first: true }),
    numeric("J/token ratio", ratio("energy_per_token"), show, { sign: (run) => run.signs[0], first: true }),
    ...(RAN_EAGER ? [BOTH_EAGER] : []),
    verdictColumn("verdict on energy", "energy_per_token"),
    numeric("tokens/s ratio", ratio("tokens_per_s"), show, { sign: (run) => run.signs[1], first: true }),
    verdictColumn("verdict on time per token", "tokens_per_s"),
    ENERGY_LABEL,
    FRONTIER,
  ],
  "Quality and energy": [
    numeric("quality, %", derived("quality")),
    numeric("bits per byte", derived("bits_per_byte"), only),
    numeric("bits per byte, change", derived("bits_per_byte_change")),
    ENERGY,
    PROVENANCE,
    numeric("baseline above idle", derived("energy_above_idle_baseline")),
    numeric("J/token above idle", derived("energy_above_idle")),
    numeric("ratio above idle", derived("energy_above_idle_ratio")),
    numeric("idle power, W", derived("idle_power")),
    numeric("preparation, J", derived("prepare_energy"), only),
    numeric("pays back after, tokens", derived("break_even")),
  ],
  "Latency and memory": [
    numeric("per output token p50, ms", candidate("tpot_p50_s")),
    numeric("first token p50, ms", candidate("ttft_p50_s")),
    numeric("tokens/s", candidate("tokens_per_s")),
    ...(HAS_ROOF ? [numeric("of the roofline, baseline, %", derived("roofline_baseline"), only), numeric("candidate, %", derived("roofline_candidate"), only)] : []),
    numeric("model, MB", candidate("model_bytes"), only),
    numeric("model, share of the baseline", ratio("model_bytes"), only),
    numeric("peak memory, MB", derived("peak_memory"), only),
  ],
};
const IMPACT = "Impact, assumed";
COLUMNS[IMPACT] = [
  ENERGY,
  numeric("Wh per 1,000 queries", derived("queries_energy")),
  numeric("g CO\u2082e per 1,000 queries", derived("queries_carbon")),
  numeric("of it to make the device, g CO\u2082e per 1,000 queries", derived("queries_embodied")),
  numeric(`${DATA.currency} per 1,000 queries`, derived("queries_cost")),
  numeric("l of water per 1,000 queries", derived("queries_water")),
  ...(DATA.waiting?.columns ?? []).map(([name, head]) => numeric(head, derived(name))),
];
COLUMNS["All"] = [...new Set(Object.values(COLUMNS).flat())];

const WHERE = { head: "model, device, workload", value: (run) => kept(run.where), cell: (run) => kept(run.where) };
const INVALID = [
  WHERE,
  {
    head: "what disturbed it",
    value: (run) => reasons(run),
    cell: (run) => reasons(run),
  },
];
const WITHOUT_RESULT = [
  { head: "outcome", value: (run) => run.outcome, cell: (run) => run.outcome },
  { head: "why", value: (run) => run.why, cell: (run) => run.why },
  WHERE,
];

/** The codes of a run in words. */
function reasons(run) {
  return run.codes.map(([code, ...windows]) => `${code}: ${meaning(code, ...windows)}`).join("; ") || "no code was recorded";
}

/** A table of runs that sorts itself. Without a choice of a column, in the order given. */
class RunTable {
  constructor(caption, columns, { comparable = true, bands = new Map(), sorted = () => {} } = {}) {
    const name = { head: "technique", value: (run) => run.label, cell: null, first: true };
    this.bands = bands;
    this.columns = [name, ...columns];
    this.caption = caption;
    this.comparable = comparable;
    this.tell = sorted;
    this.sort = { column: null, descending: false };
    this.limit = PORTION;
    this.element = make("div", { class: "runs" });
  }

  /** Fill with `runs`. */
  fill(runs) {
    this.runs = runs;
    this.draw();
  }

  draw(focused = null) {
    const notes = new Notes();
    const sorted = this.sorted();
    const [name, ...rest] = this.columns;
    const said = sorted.slice(0, this.limit).map((run) => [run, rest.map((column) => column.cell(run, notes.mark))]);
    const isOne = (column, at) => column.mayGo && said.length > 1 && said.every(([, cells]) => cells[at] === said[0][1][at]);
    const gone = new Set(rest.map((column, at) => (isOne(column, at) ? at : null)).filter((at) => at !== null));
    this.shown = [name, ...rest.filter((_, at) => !gone.has(at))];
    const rows = said.flatMap(([run, cells], at) => {
      const row = this.row(run, cells.filter((_, place) => !gone.has(place)));
      return at && this.band(run) === this.band(said[at - 1][0]) ? [row] : [this.bandRow(run), row].filter(Boolean);
    });
    const table = make(
      "table", { class: this.shown.filter((column) => column.first).length > 1 ? "headline" : null },
      make("caption", {}, this.caption),
      make("thead", {}, make("tr", {}, this.shown.map((column) => this.head(column)))),
      make("tbody", {}, rows),
    );
    const same = [...gone].map((at) => make("p", { class: "notes" }, `${rest[at].head}: ${said[0][1][at]} in every row`));
    this.element.replaceChildren(...[scroller(this.caption, table), this.more(sorted.length), ...same, notes.legend()].filter(Boolean));
    if (focused !== null) this.element.querySelectorAll("thead button")[focused].focus();
  }

  sorted() {
    const { column, descending } = this.sort;
    if (!column) return this.runs;
    const valued = this.runs.map((run) => [column.value(run), run]);
    return valued.sort(([a], [b]) => compareValues(a, b, descending)).map(([, run]) => run);
  }

  head(column) {
    const active = this.sort.column === column;
    const order = active ? (this.sort.descending ? "descending" : "ascending") : null;
    const arrow = make("span", { "aria-hidden": "true", class: "arrow" }, active ? (this.sort.descending ? "▼" : "▲") : "↕");
    const button = make("button", { type: "button", onclick: () => this.sortBy(column) }, column.head, arrow);
    return make("th", { scope: "col", "aria-sort": order, class: column.first ? null : "side" }, button, termLink(column.head));
  }

  /** Up, then down, then the order given again. */
  sortBy(column) {
    const { column: before, descending } = this.sort;
    if (before !== column) this.sort = { column, descending: false };
    else if (!descending) this.sort = { column, descending: true };
    else this.sort = { column: null, descending: false };
    this.tell(this.sort.column ? { head: column.head, descending: this.sort.descending } : null);
    this.draw(this.shown.indexOf(column));
  }

  /** Sort by the column of that head, if it is among these. */
  sortAs(order) {
    const column = this.columns.find((each) => each.head === order?.head) ?? null;
    this.sort = { column, descending: Boolean(column && order.descending) };
  }

  /** What a run's part of the order given is called; nothing in another order. */
  band(run) {
    return this.sort.column ? undefined : this.bands.get(run.number);
  }

  bandRow(run) {
    const words = this.band(run);
    return words ? make("tr", { class: "band" }, make("th", { scope: "rowgroup", colspan: String(this.shown.length) }, sentence(words))) : null;
  }

  row(run, cells) {
    const open = make("button", { type: "button", class: "open", onclick: () => openRun(run) }, run.label);
    return make(
      "tr", { class: run.noise ? "noise" : null },
      make("th", { scope: "row" }, this.comparable ? chooser(run) : null, open, marks(run)),
      cells.map((text, at) => make("td", { class: `${fit(text)}${this.shown[at + 1].first ? "" : " side"}` }, text)),
    );
  }

  more(total) {
    if (total <= this.limit) return null;
    const left = total - this.limit;
    const show = make("button", { type: "button", onclick: () => ((this.limit += 5 * PORTION), this.draw()) }, `Show ${Math.min(left, 5 * PORTION)} more`);
    return make("p", { class: "portion" }, `${this.limit} of ${total} rows are shown; filter to narrow them down. `, show);
  }
}

/** The entry of the glossary that says what a heading means; null for plain words. */
function termOf(head) {
  if (DATA.plain.includes(head)) return null;
  return DATA.terms.find(([words]) => head.includes(words))?.[1] ?? null;
}

/** A link to what a heading means; nothing for plain words. */
function termLink(head) {
  const name = termOf(head);
  return name ? make("a", { class: "term", href: `#term-${name}`, "aria-label": `What ${head} means` }, "?") : null;
}

/** Unfold the words, and go to the one asked for; the address keeps the view. */
function openTerm(event) {
  const link = event.target.closest("a.term");
  if (!link) return;
  event.preventDefault();
  if (byId("dialog").open) byId("dialog").close();
  byId("words-of-tables").open = true;
  const term = byId(link.getAttribute("href").slice(1));
  term.tabIndex = -1;
  term.focus();
  term.scrollIntoView({ block: "center" });
}

/** What is missing comes last, in either direction. */
function compareValues(a, b, descending) {
  if (a === null || b === null) return (a === null) - (b === null);
  const order = typeof a === "string" ? a.localeCompare(b, "en") : a - b;
  return descending ? -order : order;
}

/** A check box that puts a run beside another one. */
function chooser(run) {
  return make("input", {
    type: "checkbox", class: "choose", "data-run": String(run.number), "aria-label": `Compare ${run.label}`,
    checked: chosen.has(run.number), onchange: (event) => choose(run, event.target.checked),
  });
}
