"use strict";
// Two runs side by side, and the dialog that shows them, or one.

const chosen = new Set();

/** Choose a run for comparison or let it go; a third one takes the place of the first. */
function choose(run, on) {
  if (on) chosen.add(run.number);
  else chosen.delete(run.number);
  if (chosen.size > 2) chosen.delete(chosen.values().next().value);
  for (const box of document.querySelectorAll("input.choose")) box.checked = chosen.has(Number(box.dataset.run));
  drawTray();
  keepView();
}

function chosenRuns() {
  return [...chosen].map((number) => DATA.runs[number]);
}

function drawTray() {
  const tray = byId("tray");
  const runs = chosenRuns();
  tray.hidden = !runs.length;
  const clear = make("button", { type: "button", onclick: () => runs.forEach((run) => choose(run, false)) }, "Clear");
  const open = make("button", { type: "button", class: "primary", disabled: runs.length < 2, onclick: () => openComparison(runs) }, "Compare");
  const said = runs.length < 2 ? `${runs[0]?.label}: choose one more run` : runs.map((run) => run.label).join(" and ");
  tray.replaceChildren(make("p", { role: "status" }, said), open, clear);
}

/** Show content in the dialog; Esc or Close brings the reader back to where he was. */
function openDialog(heading, content) {
  const dialog = byId("dialog");
  const close = make("button", { type: "button", class: "close", onclick: () => dialog.close() }, "Close");
  const head = make("div", { class: "dialog-head" }, make("h2", { id: "dialog-title", tabindex: "-1" }, heading), close);
  dialog.replaceChildren(head, make("div", { class: "dialog-body" }, content));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  byId("dialog-title").focus();
}

function openRun(run) {
  openDialog(`${run.label}${marks(run)}`, runView(run));
}

function openComparison(runs) {
  openDialog(runs.map((run) => run.label).join(" and "), comparisonView(runs));
}

function comparisonView(runs) {
  const titles = (first) => [first, ...runs.map((run, index) => `${index ? "B" : "A"}: ${run.label}`)];
  const union = (kind) => ordered(Object.assign({}, ...runs.map((run) => lookUp(run, kind))));
  const line = (kind, name) => [title(name), ...runs.map((run) => full(read(run, kind, name)))];
  const facts = [
    ["model, device, workload", ...runs.map((run) => kept(run.where))],
    ["outcome", ...runs.map((run) => OUTCOMES[run.outcome])],
    ["joules from", ...runs.map((run) => read(run, "candidate", "energy_per_token_j").provenance)],
    ["frontier", ...runs.map((run) => FRONTIER.cell(run) || "no place")],
    ["verdict on energy", ...runs.map((run) => verdictText(verdictOf(run, "energy_per_token"), inWords))],
    ["verdict on time per token", ...runs.map((run) => verdictText(verdictOf(run, "tokens_per_s"), inWords))],
    ["energy label", ...runs.map((run) => run.energyLabel[0] || `withheld: ${run.energyLabel[1]}`)],
    ["command", ...runs.map((run) => make("code", {}, run.command))],
  ];
  const tables = [
    make("p", { class: "notice" }, comparability(runs)),
    plainTable("The runs", titles("fact"), facts),
    plainTable("Ratios to each run's own baseline", titles("ratio"), union("ratios").map((name) => line("ratios", name))),
    plainTable("Quality, idle, preparation, impact", titles("number"), DATA.derived.map((name) => line("derived", name))),
    tasksBeside(runs, titles("task")),
    plainTable("Levels of the candidates", titles("metric"), union("candidate").map((name) => line("candidate", name))),
    make("p", {}, "For verdicts on the difference, where both runs answered the same items:"),
    commandBox(`greenbench compare ${runs.map((run) => `records/${run.key}.json`).join(" ")}`),
  ];
  return make("div", { class: "beside" }, tables.filter(Boolean));
}

/** What may be compared: within a group all, across groups the ratios at most. */
function comparability([a, b]) {
  if (a.group === b.group && a.group >= 0) return "Both runs stand in one group: their ratios are comparable, and their levels as far as the baseline held still between them.";
  if (a.group < 0 || b.group < 0) return "A run that is in no group is invalid or has no result: nothing may rest on this comparison.";
  const estimates = [a, b].map((run) => isEstimate(read(run, "candidate", "energy_per_token_j")));
  if (estimates[0] !== estimates[1]) return "One run's joules are estimated and the other's measured: do not rank them by energy.";
  return "The runs differ in model, device, workload, tasks, tier or meter: compare ratios with care, and levels not at all.";
}

function tasksBeside(runs, titles) {
  const tables = runs.map((run) => new Map((run.more?.tasks ?? []).map((task) => [`${task.task} ${task.metric}`, task])));
  const names = [...new Set(tables.flatMap((tasks) => [...tasks.keys()]))];
  if (!names.length) return null;
  const cell = (task) => {
    if (!task) return "not scored";
    const [, after, change] = task.levels.map(quantity);
    return `${show(after, inWords)}; change ${show(change, inWords)}`;
  };
  return plainTable("Quality per task, and its change from the baseline", titles, names.map((name) => [name, ...tables.map((tasks) => cell(tasks.get(name)))]));
}
