"use strict";
// A run under load: its table and sentences as in leaderboard.md, its picture, and every number.

function loadView(run) {
  const load = run.more?.load;
  if (!load) return [];
  const list = (lines, properties = {}) => make("ul", properties, lines.map((line) => make("li", {}, sentence(line))));
  return [
    make("h3", {}, "Under load"),
    plainTable("Joules and latency by load", load.titles, load.cells),
    load.notes.length ? list(load.notes, { class: "notes" }) : null,
    list(load.said),
    list(load.how, { class: "notes" }),
    loadPicture(load.alt, load.figure),
    load.queue ? loadPicture(load.queueAlt, load.queue) : null,
    ...load.numbers.map(([at, numbers]) => loadNumbers(`${at} ${load.unit}`, numbers)),
  ];
}

function loadPicture(alt, svg) {
  return make("img", { class: "sketch", alt, src: `data:image/svg+xml,${encodeURIComponent(svg)}` });
}

/** All that is known of both models at one load, behind a fold. */
function loadNumbers(at, numbers) {
  const text = (found) => (found ? full(quantity(found)) : "none");
  const rows = numbers.map(([name, baseline, candidate, ratio]) => [title(name), text(baseline), text(candidate), text(ratio), quantity(candidate).provenance]);
  const table = plainTable(`All numbers at ${at}`, ["metric", "baseline", "candidate", "ratio", "provenance"], rows);
  return make("details", {}, make("summary", {}, `All numbers at ${at}`), table);
}
