"use strict";
// Puts the page together: answers, filters, figure, one table per group, what is left out.

const SECTIONS = 20; // groups shown at first; a page of hundreds would be slow to open
DATA.runs.forEach((run, number) => (run.number = number));
for (const run of DATA.runs) {
  const group = DATA.groups[run.group];
  run.text = [run.label, kept(run.where), run.key, run.command, ...run.families, group?.meter ?? ""].join(" ").toLowerCase();
}

const NO_FLOOR = [["text", "there is no A/A run here; technique=none adds one."]];
const PLACES = ["engine", "device", "asked"];
const KEPT = ["words", "family", "outcome", "joules", ...PLACES, "loss", "columns"];
const NO_RESULT = ["failed", "unsupported"];
const figure = new Figure(byId("figure"));
const asked = { group: "0", axis: "" }; // of the figure, by the reader
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
  const chosen = (id, value) => !byId(id).value || value === byId(id).value;
  const family = byId("family").value, loss = byId("loss").value;
  const passes = (run) =>
    (!family || run.families.includes(family)) && chosen("outcome", run.outcome) && chosen("joules", sourceOf(run)) &&
    PLACES.every((name) => chosen(name, kept(run[name]))) && (loss === "" || losesAtMost(run, Number(loss))) &&
    words.every((word) => run.text.includes(word));
  return new Set(DATA.runs.filter(passes).map((run) => run.number));
}

/** By the value measured; a run whose quality is not known loses who knows what. */
function losesAtMost(run, points) {
  const change = read(run, "derived", "quality_change").value;
  return run.aa || (change !== null && change >= -points);
}

function sourceOf(run) {
  const { provenance } = read(run, "candidate", "energy_per_token_j");
  return provenance.split(":")[0];
}

/** One group: what it is, its table, its notes. */
class Section {
  constructor(group, index) {
    this.group = group;
    this.index = index;
    this.heading = make("h2", { id: `group-${index + 1}` }, `${index + 1}. ${group.title}`);
    this.table = null;
    this.order = null; // as the reader has sorted it, whichever columns are shown
    const badge = group.measured ? "measured" : group.source === "unavailable" ? "no joules" : "≈ estimated, not measured";
    const facts = `Tier ${group.tier}. Joules: ${group.meter}. Tasks: ${group.tasks}.`;
    this.slot = make("div");
    this.element = make(
      "section", { "aria-labelledby": `group-${index + 1}`, class: group.measured ? null : "apart" },
      this.heading, make("p", {}, make("span", { class: "badge" }, badge), ` ${facts}`), this.slot,
      group.notes.length ? make("p", { class: "notes" }, `† ${group.notes.join("; ")}.`) : null,
      group.host.map((line) => make("p", {}, sentence(line))),
      (group.noise.length ? group.noise : [NO_FLOOR]).map((line) => make("p", {}, "Noise floor: ", sentence(line))),
    );
  }

  /** By run's number, the words above those that lose as much. */
  bands() {
    const found = new Map();
    for (const [place, ...words] of this.group.bands) for (const run of this.group.runs.slice(place)) found.set(run, words);
    return found;
  }

  update(visible, columns) {
    const runs = this.group.runs.filter((number) => visible.has(number)).map((number) => DATA.runs[number]);
    this.element.hidden = !runs.length;
    if (this.columns !== columns) {
      this.columns = columns;
      this.table = new RunTable(`${columns}, group ${this.index + 1}`, COLUMNS[columns], { bands: this.bands(), sorted: (order) => ((this.order = order), keepView()) });
      this.slot.replaceChildren(this.table.element);
    }
    this.table.sortAs(this.order);
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
  fill("figure-axis", group.axes.map((axis) => [axis.ratio, title(axis.ratio)]));
  if (group.axes.some((axis) => axis.ratio === asked.axis)) byId("figure-axis").value = asked.axis;
}

function update() {
  const visible = visibleRuns();
  byId("count").textContent = `${count(visible.size, DATA.runs.length, "runs")} shown.`;
  const some = sections.filter((section) => section.group.runs.some((number) => visible.has(number)));
  for (const section of sections) section.element.hidden = true;
  for (const section of some.slice(0, sectionLimit)) section.update(visible, byId("columns").value);
  byId("groups").replaceChildren(...some.slice(0, sectionLimit).map((section) => section.element), ...moreSections(some.length));
  byId("assumed").hidden = ![IMPACT, "All"].includes(byId("columns").value);
  byId("waiting").hidden = byId("assumed").hidden || !DATA.waiting;
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
  if (group) figure.show(group, group.axes.find((axis) => axis.ratio === byId("figure-axis").value), visible);
}

/** Draw the figure that the reader asks for. */
function ask(wanted) {
  const isOther = wanted.group !== asked.group;
  Object.assign(asked, wanted);
  if (isOther) chooseFigure();
  keepView();
  drawFigure(visibleRuns());
}

/** The reader's choice of colours, kept where the browser allows it; the button says which it is. */
function theme() {
  const button = byId("theme"), root = document.documentElement;
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const tell = () => {
    button.setAttribute("aria-pressed", String(dark()));
    button.textContent = `Colours: ${dark() ? "dark" : "light"}${root.dataset.theme ? "" : ", as the system"}`;
  };
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

/** The view in the address, so that it can be sent to someone who has the file. */
function keepView() {
  const view = new URLSearchParams(KEPT.map((id) => [id, byId(id).value]).filter(([id, value]) => value && value !== USUAL[id]));
  for (const { order, index } of sections) if (order) view.append("sort", `${index + 1}:${order.descending ? "-" : ""}${order.head}`);
  if (asked.group !== "0") view.set("figure", String(Number(asked.group) + 1));
  if (asked.axis) view.set("axis", asked.axis);
  if (chosen.size) view.set("runs", chosenRuns().map((run) => run.key).join(","));
  try {
    history.replaceState(null, "", `#${view}`);
  } catch { /* some browsers keep no address for files */ }
}

/** What the address says, and the usual of all that it does not say, or that another report has. */
function readView() {
  const view = new URLSearchParams(location.hash.slice(1));
  for (const id of KEPT) {
    const control = byId(id), value = view.get(id) ?? USUAL[id];
    control.value = value;
    if (control.value !== value) control.value = USUAL[id];
  }
  const orders = new Map(view.getAll("sort").map((text) => /^(\d+):(-?)(.+)$/.exec(text) ?? []).map(([, at, down, head]) => [Number(at), { head, descending: down === "-" }]));
  for (const section of sections) section.order = orders.get(section.index + 1) ?? null;
  const place = Number(view.get("figure")) - 1;
  asked.group = String(DATA.groups[place] ? place : 0);
  asked.axis = view.get("axis") ?? "";
  byId("figure-group").value = asked.group;
  chooseFigure();
  const keys = (view.get("runs") ?? "").split(",");
  chosen.clear();
  for (const run of DATA.runs.filter((run) => keys.includes(run.key)).slice(0, 2)) chosen.add(run.number);
  drawTray();
}

/** A link put into an open page; one to a part of it says nothing of the view. */
function followLink() {
  if (byId(location.hash.slice(1))) return;
  readView();
  update();
}

/** One line of visible text that no spreadsheet takes for a formula (OWASP, CSV injection); numbers stay numbers. */
function harmless(text) {
  const line = text.replace(/\x1b\[[0-?]*[ -/]*[@-~]/g, "").replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, " ").replace(/[\p{Cf}\p{Co}\p{Cs}\p{Cn}]/gu, "");
  const isNumber = /^[+-]?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(line);
  return !isNumber && /^[=+\-@\uff1d\uff0b\uff0d\uff20]/.test(line.trimStart()) ? `'${line}` : line;
}

/** The runs that are shown, with the columns that are, as a file. */
function download() {
  const visible = visibleRuns(), columns = COLUMNS[byId("columns").value];
  const quoted = (text) => `"${harmless(String(text ?? "")).replaceAll('"', '""')}"`;
  const lines = DATA.runs.filter((run) => visible.has(run.number)).map((run) =>
    [run.label, kept(run.where), ...columns.map((column) => column.cell(run, inWords))].map(quoted).join(","));
  const head = ["technique", "model, device, workload", ...columns.map((column) => column.head)].map(quoted).join(",");
  const file = new Blob([`\ufeff${[head, ...lines].join("\r\n")}\r\n`], { type: "text/csv" });
  const link = make("a", { href: URL.createObjectURL(file), download: "greenbench.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href));
}

const USUAL = {};
function start() {
  theme();
  const all = (values, word) => [["", word], ...[...new Set(values)].sort().map((value) => [value, value])];
  byId("assumed").replaceChildren(...sentence(DATA.assumed));
  if (DATA.waiting) {
    const [saves, day] = DATA.waiting.tables.map((table) => plainTable(...table));
    const folded = make("details", {}, make("summary", {}, DATA.waiting.tables[1][0]), day);
    byId("waiting").replaceChildren(make("p", { class: "hint" }, sentence(DATA.waiting.said)), saves, folded);
  }
  fill("family", all(DATA.runs.flatMap((run) => run.families), "all families"));
  fill("outcome", all(DATA.runs.map((run) => run.outcome), "all outcomes"));
  fill("joules", all(DATA.runs.map(sourceOf), "all"));
  for (const name of PLACES) fill(name, all(DATA.runs.map((run) => kept(run[name])), "all"));
  fill("columns", Object.keys(COLUMNS).map((name) => [name, name]));
  fill("figure-group", DATA.groups.map((group, index) => [String(index), `${index + 1}. ${group.title}`]));
  sections.push(...DATA.groups.map((group, index) => new Section(group, index)));
  for (const id of KEPT) USUAL[id] = byId(id).value;
  readView();
  const filters = byId("filters");
  filters.addEventListener("submit", (event) => event.preventDefault());
  const changed = () => (keepView(), update());
  filters.addEventListener("input", changed);
  filters.addEventListener("reset", () => setTimeout(changed));
  document.addEventListener("click", openTerm);
  byId("download").addEventListener("click", download);
  byId("figure-group").addEventListener("change", (event) => ask({ group: event.target.value, axis: "" }));
  byId("figure-axis").addEventListener("change", (event) => ask({ group: byId("figure-group").value, axis: event.target.value }));
  addEventListener("hashchange", followLink);
  update();
}

start();
