"use strict";
// Numbers of the data, in the words that leaderboard.md has for them: Python made each text.

const TIMES = "\u00d7";

/** A number of the data, [value, low, high, n, unit, provenance, reason, text, alone], with names. */
function quantity(found) {
  const [value, low, high, n, unit, provenance, reason, text, alone] = found;
  return { value, low, high, n, unit: kept(unit), provenance: kept(provenance), reason: kept(reason), text, alone };
}

function missing(reason, unit = "") {
  return { value: null, low: null, high: null, n: 0, unit, provenance: "unavailable", reason, text: "" };
}

function hasInterval(found) {
  return found.low !== null && found.high !== null;
}

function isEstimate(found) {
  return found.provenance === "estimated:model" || found.provenance === "assumed";
}

/** A value with its interval; `note` gives the mark for a reason where something is missing. */
function show(found, note) {
  if (found.value === null) return `n/a ${note(found.reason)}`;
  return hasInterval(found) ? found.text : `${found.text} ${note(found.reason)}`;
}

/** The value alone, for what is counted once. */
function only(found, note) {
  return found.value === null ? show(found, note) : found.alone ?? found.text;
}

/** Reasons gathered under a table, each under a letter that its cells refer to. */
class Notes {
  constructor() {
    this.reasons = [];
    this.mark = (reason) => {
      const line = reason || "no reason recorded";
      if (!this.reasons.includes(line)) this.reasons.push(line);
      return Notes.letter(this.reasons.indexOf(line));
    };
  }

  static letter(index) {
    return `(${String.fromCharCode(97 + (index % 26)).repeat(Math.floor(index / 26) + 1)})`;
  }

  legend() {
    if (!this.reasons.length) return null;
    const lines = this.reasons.map((reason, index) => make("li", {}, `${Notes.letter(index)} ${reason}`));
    return make("ul", { class: "notes" }, lines);
  }
}

/** For places without room for notes: the reason in words. */
function inWords(reason) {
  return `(${reason || "no reason recorded"})`;
}
