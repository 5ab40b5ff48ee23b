"use strict";
// Tables of runs: sorted by a button in each title, filled in portions, one per group.

const PORTION = 100;

/** A column of numbers: its title, how to read the number, how to show it. */
function numeric(head, get, text = show) {
  return { head, value: (run) => get(run).value, cell: (run, note) => text(get(run), note) };
}

const ratio = (name) => (run) => read(run, "ratios", name);
const candidate = (name) => (run) => read(run, "candidate", name);
const derived = (name) => (run) => read(run, "derived", name);
const WORDS = ["saves", "equivalent", "inconclusive", "costs"];
function verdictColumn(head, name) {
  return {
    head,
    value: (run) => {
      const verdict = verdictOf(run, name);
      return verdict && !verdict.barred ? WORDS.indexOf(verdict.word) : null;
    },
    cell: (run, note) => verdictText(verdictOf(run, name), note),
  };
}

const ENERGY_LABEL = {
  head: "energy label",
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
  value: (run) => candidate("energy_per_token_j")(run).provenance,
  cell: (run) => candidate("energy_per_token_j")(run).provenance,
};

const BOTH_EAGER = numeric("J/token ratio, both eager", derived("energy_per_token_both_eager"));
const RAN_EAGER = DATA.runs.some((run) => BOTH_EAGER.value(run) !== null);

const HAS_ROOF = DATA.runs.some((run) => derived("roofline_baseline")(run).value !== null);

const COLUMNS = {
  "Headline": [
    numeric("quality change, points", derived("quality_change")),
    numeric("J/token ratio", ratio("energy_per_token")),
    ...(RAN_EAGER ? [BOTH_EAGER] : []),
    verdictColumn("verdict on energy", "energy_per_token"),
    numeric("tokens/s ratio", ratio("tokens_per_s")),
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
    numeric("J/token above idle", derived("energy_above_idle")),
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
  numeric(`${DATA.currency} per 1,000 queries`, derived("queries_cost")),
  numeric("l of water per 1,000 queries", derived("queries_water")),
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
  constructor(caption, columns, { comparable = true } = {}) {
    const name = { head: "technique", value: (run) => run.label, cell: null };
    this.columns = [name, ...columns];
    this.caption = caption;
    this.comparable = comparable;
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
    const rows = sorted.slice(0, this.limit).map((run) => this.row(run, notes));
    const table = make(
      "table", {},
      make("caption", {}, this.caption),
      make("thead", {}, make("tr", {}, this.columns.map((column) => this.head(column)))),
      make("tbody", {}, rows),
    );
    this.element.replaceChildren(...[scroller(this.caption, table), this.more(sorted.length), notes.legend()].filter(Boolean));
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
    return make("th", { scope: "col", "aria-sort": order }, button);
  }

  /** Up, then down, then the order of the frontier again. */
  sortBy(column) {
    const { column: before, descending } = this.sort;
    if (before !== column) this.sort = { column, descending: false };
    else if (!descending) this.sort = { column, descending: true };
    else this.sort = { column: null, descending: false };
    this.draw(this.columns.indexOf(column));
  }

  row(run, notes) {
    const [, ...rest] = this.columns;
    const open = make("button", { type: "button", class: "open", onclick: () => openRun(run) }, run.label);
    return make(
      "tr", {},
      make("th", { scope: "row" }, this.comparable ? chooser(run) : null, open, marks(run)),
      rest.map((column) => this.cell(column.cell(run, notes.mark))),
    );
  }

  cell(text) {
    return make("td", { class: fit(text) }, text);
  }

  more(total) {
    if (total <= this.limit) return null;
    const left = total - this.limit;
    const show = make("button", { type: "button", onclick: () => ((this.limit += 5 * PORTION), this.draw()) }, `Show ${Math.min(left, 5 * PORTION)} more`);
    return make("p", { class: "portion" }, `${this.limit} of ${total} rows are shown; filter to narrow them down. `, show);
  }
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
