"use strict";
// Puts the page together: answers, filters, figure, one table per group, what is left out.

const SECTIONS = 20; // groups shown at first; a page of hundreds would be slow to open
DATA.runs.forEach((run, number) => (run.number = number));
for (const run of DATA.runs) {
  const group = DATA.groups[run.group];
  run.text = [run.label, kept(run.where), run.key, run.command, ...run.families, group?.meter ?? ""].join(" ").toLowerCase();
}

const NO_FLOOR = [["text", "there is no A/A run here; technique=none adds one."]];
const NO_RESULT = ["failed", "unsupported"];
const figure = new Figure(byId("figure"));
const sections = [];
let sectionLimit = SECTIONS;

/** Fill a select with [value, text] pairs. */
function fill(id, options) {
  byId(id).replaceChildren(...options.map(([value, text]) => make("option", { value }, text)));
}

function count(found, of, word) {
  return `${found} of ${of} ${word}`;
}

/** The numbers of the runs that the filters let through. */
function visibleRuns() {
  const words = byId("words").value.toLowerCase().split(/\s+/).filter(Boolean);
  const family = byId("family").value, outcome = byId("outcome").value, joules = byId("joules").value;
  const passes = (run) =>
    (!family || run.families.includes(family)) && (!outcome || run.outcome === outcome) &&
    (!joules || sourceOf(run) === joules) && words.every((word) => run.text.includes(word));
  return new Set(DATA.runs.filter(passes).map((run) => run.number));
}

function sourceOf(run) {
  const { provenance } = read(run, "candidate", "energy_per_token_j");
  return provenance.split(":")[0];
}

function answers() {
  if (!DATA.groups.length) return make("p", { class: "notice" }, DATA.runs.length ? "No completed run may be shown: the tables below say why." : "There is no run yet. `make bench` runs the sweep for this machine and writes this page again.");
  const shown = DATA.groups.slice(0, SECTIONS).map((group, index) =>
    make("li", {}, make("strong", {}, group.title), ` (joules: ${group.meter})`, make("ul", {}, group.answer.map((line) => make("li", {}, sentence(line))))),
  );
  return make("ol", {}, shown);
}

/** One group: what it is, its table, its notes. */
class Section {
  constructor(group, index) {
    this.group = group;
    this.index = index;
    this.heading = make("h2", { id: `group-${index + 1}` }, `${index + 1}. ${group.title}`);
    this.table = null;
    const badge = group.measured ? "measured" : group.source === "unavailable" ? "no joules" : "≈ estimated, not measured";
    const facts = `Tier ${group.tier}${group.claims ? "" : ": no claims"}. Joules: ${group.meter}. Tasks: ${group.tasks}.`;
    this.slot = make("div");
    this.element = make(
      "section", { "aria-labelledby": `group-${index + 1}`, class: group.measured ? null : "apart" },
      this.heading, make("p", {}, make("span", { class: "badge" }, badge), ` ${facts}`), this.slot,
      group.notes.length ? make("p", { class: "notes" }, `† ${group.notes.join("; ")}.`) : null,
      (group.noise.length ? group.noise : [NO_FLOOR]).map((line) => make("p", {}, "Noise floor: ", sentence(line))),
    );
  }

  update(visible, columns) {
    const runs = this.group.runs.filter((number) => visible.has(number)).map((number) => DATA.runs[number]);
    this.element.hidden = !runs.length;
    if (this.columns !== columns) {
      this.columns = columns;
      this.table = new RunTable(`${columns}, group ${this.index + 1}`, COLUMNS[columns]);
      this.slot.replaceChildren(this.table.element);
    }
    this.table.fill(runs);
  }
}

/** What stands in no group: invalid runs, runs without a result, files that are no records. */
function leftOut(visible) {
  const found = DATA.runs.filter((run) => visible.has(run.number));
  const parts = [
    ["Invalid runs", "Measured, but disturbed: they are in no answer, no group's table and no figure.", found.filter((run) => run.outcome === "invalid"), INVALID],
    ["Runs without a result", "They failed, or this machine cannot run them.", found.filter((run) => NO_RESULT.includes(run.outcome)), WITHOUT_RESULT],
  ];
  const shown = parts.filter(([, , runs]) => runs.length).map(([name, said, runs, columns]) => {
    const table = new RunTable(name, columns, { comparable: false });
    table.fill(runs);
    return make("section", { class: "apart" }, make("h2", {}, name), make("p", {}, said), table.element);
  });
  if (DATA.rejected.length) shown.push(make("section", { class: "apart" }, make("h2", {}, "Files that are not records"), plainTable("Files that are not records", ["file", "why"], DATA.rejected)));
  byId("left-out").replaceChildren(...shown);
}

function chooseFigure() {
  const group = DATA.groups[Number(byId("figure-group").value)];
  if (!group) return;
  fill("figure-axis", group.axes.map((axis, index) => [String(index), title(axis.ratio)]));
}

function update() {
  const visible = visibleRuns();
  byId("count").textContent = `${count(visible.size, DATA.runs.length, "runs")} shown.`;
  const some = sections.filter((section) => section.group.runs.some((number) => visible.has(number)));
  for (const section of sections) section.element.hidden = true;
  for (const section of some.slice(0, sectionLimit)) section.update(visible, byId("columns").value);
  byId("groups").replaceChildren(...some.slice(0, sectionLimit).map((section) => section.element), ...moreSections(some.length));
  byId("assumed").hidden = ![IMPACT, "All"].includes(byId("columns").value);
  leftOut(visible);
  drawFigure(visible);
}

function moreSections(total) {
  if (total <= sectionLimit) return [];
  const more = make("button", { type: "button", onclick: () => ((sectionLimit += SECTIONS), update()) }, `Show ${Math.min(SECTIONS, total - sectionLimit)} more groups`);
  return [make("p", { class: "portion" }, `${sectionLimit} of ${total} groups are shown; filter to narrow them down. `, more)];
}

/** Draw the chosen group, or the first that the filters let through. */
function drawFigure(visible) {
  const drawable = ({ axes }) => axes.some((axis) => axis.placed.some((number) => visible.has(number)));
  const place = byId("figure-group");
  const first = DATA.groups.findIndex(drawable);
  if (first >= 0 && !drawable(DATA.groups[Number(place.value)])) {
    place.value = String(first);
    chooseFigure();
  }
  const group = DATA.groups[Number(place.value)];
  if (group) figure.show(group, group.axes[Number(byId("figure-axis").value)], visible);
}

/** The reader's choice of colours, kept where the browser allows it. */
function theme() {
  const button = byId("theme"), root = document.documentElement;
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const tell = () => button.setAttribute("aria-pressed", String(dark()));
  try {
    root.dataset.theme = localStorage.getItem("greenbench-theme") ?? "";
  } catch { /* a browser may keep nothing for files */ }
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try {
      localStorage.setItem("greenbench-theme", root.dataset.theme);
    } catch { /* then it holds until the page is closed */ }
    tell();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);
  tell();
}

function start() {
  theme();
  byId("answers").replaceChildren(...DATA.notice.map((line) => make("p", { class: "notice" }, sentence(line))), answers());
  const all = (values, word) => [["", word], ...[...new Set(values)].sort().map((value) => [value, value])];
  byId("assumed").replaceChildren(...sentence(DATA.assumed));
  fill("family", all(DATA.runs.flatMap((run) => run.families), "all families"));
  fill("outcome", all(DATA.runs.map((run) => run.outcome), "all outcomes"));
  fill("joules", all(DATA.runs.map(sourceOf), "all"));
  fill("columns", Object.keys(COLUMNS).map((name) => [name, name]));
  fill("figure-group", DATA.groups.map((group, index) => [String(index), `${index + 1}. ${group.title}`]));
  sections.push(...DATA.groups.map((group, index) => new Section(group, index)));
  chooseFigure();
  const filters = byId("filters");
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("input", update);
  filters.addEventListener("reset", () => setTimeout(update));
  byId("figure-group").addEventListener("change", () => (chooseFigure(), drawFigure(visibleRuns())));
  byId("figure-axis").addEventListener("change", () => drawFigure(visibleRuns()));
  update();
}

start();
