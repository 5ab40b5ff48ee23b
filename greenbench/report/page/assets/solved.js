"use strict";
// Graded answers: their factors and lengths as in leaderboard.md.

const SOLVED = numeric("J/solved ratio", ratio("energy_per_solved"));
const GRADED = DATA.runs.some((run) => SOLVED.value(run) !== null);
if (GRADED) COLUMNS.Headline.splice(3, 0, SOLVED, verdictColumn("verdict on energy per solved problem", "energy_per_solved"));

function solvedView(run) {
  const solved = run.more?.solved;
  if (!solved) return [];
  const notes = (lines) => lines.length ? make("ul", { class: "notes" }, lines.map((line) => make("li", {}, sentence(line)))) : null;
  return [
    make("h3", {}, "Joules per solved problem"),
    make("p", {}, sentence(solved.how)),
    ...solved.tables.flatMap((table) => [plainTable(table.caption, table.titles, table.cells), notes(table.notes)]),
  ];
}
