"use strict";
// Runs by number: how to read one, all about one, and two side by side.

const TITLES = {
  energy_per_token: "J/token", energy_per_token_j: "J/token",
  decode_energy_per_token: "J/token of decoding alone", decode_energy_per_token_j: "J/token of decoding alone",
  energy_per_token_low_j: "J/token, estimate's lower bound", energy_per_token_high_j: "J/token, estimate's upper bound",
  energy_per_solved: "J per solved problem", energy_per_solved_j: "J per solved problem",
  prefill_energy: "energy of prefill", prefill_energy_j: "energy of prefill",
  tokens_per_s: "tokens per second", seconds_per_token: "seconds per token",
  tpot: "time per output token", ttft: "time to first token",
  tpot_p50_s: "time per output token, p50", tpot_p90_s: "time per output token, p90", tpot_p99_s: "time per output token, p99",
  ttft_p50_s: "time to first token, p50", ttft_p90_s: "time to first token, p90", ttft_p99_s: "time to first token, p99",
  model_bytes: "bytes of the model", host_peak_bytes: "peak memory of the host", device_peak_bytes: "peak memory of the device",
  quality: "quality", quality_change: "quality change", bits_per_byte: "bits per byte",
  bits_per_byte_change: "bits per byte, change", energy_above_idle_baseline: "baseline above idle", energy_above_idle: "J/token above idle", energy_above_idle_ratio: "ratio above idle", idle_power: "idle power",
  peak_memory: "peak memory", prepare_energy: "energy of the preparation, once", break_even: "pays back after",
  energy_per_request: "J/request, always-on", energy_per_request_j: "J/request, always-on",
  marginal_energy_per_request: "J/request, marginal", marginal_energy_per_request_j: "J/request, marginal",
  energy_per_any_token: "J/token of prompts and answers", energy_per_any_token_j: "J/token of prompts and answers",
  power: "power", power_w: "power", throughput: "requests answered", throughput_per_s: "requests answered",
  goodput: "answered within the limits", goodput_per_s: "answered within the limits", good: "share within the limits",
  e2e: "end to end, p50", e2e_p90: "end to end, p90", e2e_p99: "end to end, p99",
  e2e_p50_s: "end to end, p50", e2e_p90_s: "end to end, p90", e2e_p99_s: "end to end, p99",
  busy: "share of the time busy", in_flight: "requests in flight", batch: "requests being answered in the server", queue: "requests waiting in the server",
  energy_per_token_both_eager: "J/token, both eager",
  queries_energy: "energy of 1,000 queries, assumed", queries_carbon: "carbon of 1,000 queries, assumed",
  queries_embodied: "carbon of making the device, of 1,000 queries, assumed",
  queries_cost: "cost of 1,000 queries, assumed", queries_water: "water of 1,000 queries, assumed",
};
for (const [name, head] of DATA.waiting?.columns ?? []) TITLES[name] = `carbon of 1,000 queries, assumed: ${head}`;
const OUTCOMES = { valid: "valid", flagged: "flagged ⚑", invalid: "invalid", failed: "failed", unsupported: "unsupported" };

function title(name) {
  return TITLES[name] ?? name.replaceAll("_", " ");
}

/** Names of numbers in the order of `TITLES`; those it does not know come last. */
function ordered(numbers) {
  const known = Object.keys(TITLES), place = (name) => (known.indexOf(name) + 1 || known.length + 1);
  return Object.keys(numbers).sort((a, b) => place(a) - place(b));
}

/** One number of a run: derived by name, or of its `candidate`, `baseline` or `ratios`. */
function read(run, kind, name) {
  const found = kind === "derived" ? run.derived[DATA.derived.indexOf(name)] : lookUp(run, kind)?.[name];
  return found ? quantity(found) : missing(`the record has no ${name}`);
}

function lookUp(run, kind) {
  return run.more?.[kind] ?? run[kind];
}

/** Its verdict on a ratio, with names; null where there is none. */
function verdictOf(run, name) {
  const found = run.verdicts[name];
  if (!found) return null;
  const [word, barred] = found;
  const [holm, family, tost, method, reason] = run.more?.verdicts[name] ?? [null, 1, null, -1, ""];
  return { word, barred: kept(barred), holm, family, tost, method: kept(method), reason };
}

function verdictText(verdict, note) {
  if (!verdict) return `n/a ${note("the record has no such verdict")}`;
  return verdict.barred ? `no claim ${note(verdict.barred)}` : verdict.word;
}

function marks(run) {
  return `${run.outcome === "flagged" ? " ⚑" : ""}${run.noted ? " †" : ""}`;
}

/** A number for a table of many units: value, interval and unit, or the reason. */
function full(found) {
  if (found.value === null) return `n/a ${inWords(found.reason)}`;
  return found.unit === "ratio" ? found.text : `${found.text} ${found.unit}`;
}

/** Why a number that is there has no interval. */
function whyNoInterval(found) {
  return found.value !== null && !hasInterval(found) ? found.reason : "";
}

/** Everything about a run. */
function runView(run) {
  const more = run.more;
  const parts = [
    make("p", {}, kept(run.where)),
    make("p", {}, make("span", { class: "badge" }, OUTCOMES[run.outcome]), ` record ${run.key}`),
    commandBox(run.command),
    ...failureView(run),
    ...codesView(run),
    ...standingView(run),
  ];
  if (!more) {
    const said = `This page holds ${DATA.detailed} runs in full, and this run is not among them: its record ${run.key}.json has the rest.`;
    parts.push(make("p", { class: "notice" }, said));
  }
  if (run.outcome !== "failed" && run.outcome !== "unsupported") {
    parts.push(...loadView(run), ...solvedView(run), ratiosTable(run), levelsTable(run), derivedTable(run));
    if (more) parts.push(...tasksView(run));
  }
  if (more) parts.push(...partsView(run), ...courseView(run));
  parts.push(environmentView(run));
  return parts;
}

function failureView(run) {
  if (!run.why) return [];
  const output = run.more?.output ?? [];
  const tail = output.length
    ? make("details", {}, make("summary", {}, "Last lines of its output"), make("pre", { tabindex: "0" }, output.join("\n")))
    : null;
  return [make("h3", {}, "Why it has no result"), make("p", {}, run.why), tail];
}

/** What a code says, and in how many windows it was found. */
function meaning(code, windows, of) {
  return `${DATA.meanings[code] ?? DATA.unknown}${windows ? ` (${windows} of ${of} windows)` : ""}`;
}

function codesView(run) {
  if (!run.codes.length) return [];
  const lines = run.codes.map(([code, ...windows]) => make("li", {}, make("code", {}, code), `: ${meaning(code, ...windows)}`));
  return [make("h3", {}, run.outcome === "invalid" ? "Why it is invalid" : "What disturbed it"), make("ul", {}, lines)];
}

function standingView(run) {
  if (run.probability === null) return [];
  const lines = [`On the frontier in ${run.share} of the draws of blocks and items.`];
  if (run.ties.length) lines.push(`Not told apart from ${run.ties.join(", ")}${run.moreTies ? ` and ${run.moreTies} more` : ""}.`);
  if (run.rival) {
    const [label, points, energy, share] = run.rival;
    lines.push(`Beaten by ${label}: ${points} points at ${energy} its ${run.beatenIn}, in ${share} of the draws.`);
  }
  return [make("h3", {}, "Its place on the frontier"), make("p", {}, lines.join(" "))];
}

function ratiosTable(run) {
  const rows = ordered(run.ratios).map((name) => {
    const found = read(run, "ratios", name);
    const verdict = verdictOf(run, name);
    const word = verdict ? (verdict.barred ? "no claim" : verdict.word) : "none";
    const holm = verdict?.holm == null ? "n/a" : verdict.holm + (verdict.family > 1 ? ` (${verdict.family} runs)` : "");
    const tost = verdict?.tost == null ? "n/a" : verdict.tost;
    const why = verdict ? (verdict.barred ?? verdict.reason) : whyNoInterval(found);
    return [title(name), full(found), String(found.n), found.provenance, word, holm, tost, verdict?.method ?? "n/a", why];
  });
  return plainTable("Ratios to the baseline, and verdicts", ["ratio", "candidate over baseline", "n", "provenance", "verdict", "p, Holm", "p, equivalence", "interval by", "why"], rows);
}

function levelsTable(run) {
  const rows = ordered(lookUp(run, "candidate")).map((name) => {
    const candidate = read(run, "candidate", name);
    const baseline = run.more ? full(read(run, "baseline", name)) : "in its record";
    return [title(name), full(candidate), baseline, String(candidate.n), candidate.provenance, whyNoInterval(candidate)];
  });
  return plainTable("Levels", ["metric", "candidate", "baseline", "n", "provenance", "why no interval"], rows);
}

function derivedTable(run) {
  const rows = DATA.derived.map((name) => {
    const found = read(run, "derived", name);
    const from = name.startsWith("queries_") ? "assumed, from joules " : "";
    return [title(name), full(found), String(found.n), from + found.provenance, whyNoInterval(found)];
  });
  return plainTable("Quality, idle, preparation, impact", ["number", "value", "n", "provenance", "why no interval"], rows);
}

function tasksView(run) {
  const tasks = run.more.tasks ?? [];
  if (!tasks.length) return [];
  const rows = tasks.map((task) => {
    const [before, after, change] = task.levels.map(quantity);
    return [
      `${task.task} ${task.metric}${before.unit === "%" ? ", %" : ""}`,
      show(before, inWords), show(after, inWords), show(change, inWords), `${task.changed} of ${task.items}`, task.split,
    ];
  });
  return [plainTable("Quality per task", ["task", "baseline", "candidate", "change", "items changed", "split"], rows)];
}

function partsView(run) {
  return (run.more.parts ?? []).map((part) => {
    const promise = Object.entries(part.promise).map(([name, value]) => `${name.replaceAll("_", " ")} ${flat(value)}`).join("; ");
    const energy = quantity(part.energy);
    const facts = [
      ["promises", promise],
      ["preparation", `${part.seconds} s; ${full(energy)}${energy.value !== null && energy.reason ? ` (${energy.reason})` : ""}`],
      ["found while preparing", flat(part.details)],
      ["showed while running", flat(part.observed)],
      ["paper", part.paper || "none"],
    ];
    return [make("h3", {}, "Technique ", make("code", {}, part.name)), make("p", {}, `${part.summary}; ${part.lossless ? "lossless" : "lossy"}.`), factList(facts)];
  });
}

function factList(facts) {
  return make("dl", {}, facts.map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

function courseView(run) {
  const { model, meter, engine, candidateEngine, unscored, waiting, warmup, stopping, design, started, stages } = run.more;
  const facts = [["started", started || "unknown"], ["design", (design ?? []).filter(Boolean).join(": ")]];
  if (model) facts.push(["model", flat(model)]);
  if (meter) facts.push(["meters", flat(meter)]);
  if (engine) facts.push(["engine", flat(engine)]);
  if (candidateEngine) facts.push(["engine of the candidate", flat(candidateEngine)]);
  for (const [task, why] of Object.entries(unscored ?? {})) facts.push([`not scored, ${task}`, why]);
  for (const [who, end] of Object.entries(warmup ?? {})) facts.push([`warm-up of the ${who}`, flat(end)]);
  if (stopping) facts.push(["stopped because", flat(stopping)]);
  for (const name of Object.keys(run.more.idle ?? {})) facts.push([`idle power, ${name}`, full(quantity(run.more.idle[name]))]);
  for (const name of Object.keys(waiting ?? {})) facts.push([`while it waits, ${name}`, full(quantity(waiting[name]))]);
  if (stages) facts.push(["seconds by stage", flat(stages)]);
  return [make("h3", {}, "How it was measured"), factList(facts)];
}

function environmentView(run) {
  const facts = Object.entries(DATA.environments[run.environment]).map(([name, value]) => [name, flat(value)]);
  return make("div", {}, make("h3", {}, "Environment"), facts.length ? factList(facts) : make("p", {}, "None was recorded."));
}
