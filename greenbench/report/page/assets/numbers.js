"use strict";
// Numbers as leaderboard.md shows them: as many digits as their intervals support.

const MINUS = "\u2212", TIMES = "\u00d7", TO = "\u2013", ESTIMATE = "\u2248";

/** A number of the data, [value, low, high, n, unit, provenance, reason], with names. */
function quantity(found) {
  const [value, low, high, n, unit, provenance, reason] = found;
  return { value, low, high, n, unit: kept(unit), provenance: kept(provenance), reason: kept(reason) };
}

function missing(reason, unit = "") {
  return { value: null, low: null, high: null, n: 0, unit, provenance: "unavailable", reason };
}

function scaled(found, factor, unit) {
  const times = (part) => (part === null ? null : part * factor);
  return { ...found, value: times(found.value), low: times(found.low), high: times(found.high), unit };
}

function hasInterval(found) {
  return found.low !== null && found.high !== null;
}

function isEstimate(found) {
  return found.provenance === "estimated:model" || found.provenance === "assumed";
}

/** So many decimals; exact ties go to the even digit, as in Python. */
function fixed(value, decimals) {
  const tie = (value * 2 ** (decimals + 1)) % 1 === 0 && Math.abs((value * 10 ** decimals) % 1) === 0.5;
  const even = (2 * Math.round((value * 10 ** decimals) / 2)) / 10 ** decimals;
  const text = (tie ? even : value).toFixed(decimals);
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", MINUS);
}

/** Decimals that an interval's half width supports; without one, three digits. */
function decimalsFor(value, half) {
  const scale = half ? half / 2 : Math.abs(value) / 100;
  const decimals = scale ? -Math.floor(Math.log10(scale)) : 0;
  const finest = value ? 5 - Math.floor(Math.log10(Math.abs(value))) : 9;
  return Math.max(0, Math.min(decimals, finest));
}

function number(value, half = null) {
  return fixed(value, decimalsFor(value, half));
}

/** Decimals that the shorter side of the interval supports. */
function decimalsOf(found) {
  const sides = [found.low, found.high]
    .filter((bound) => bound !== null && bound !== found.value)
    .map((bound) => Math.abs(bound - found.value));
  return decimalsFor(found.value, hasInterval(found) && sides.length ? Math.min(...sides) : null);
}

function signed(text) {
  if (/^[0.\u2212]*$/.test(text)) return text.replace(MINUS, "");
  return text.startsWith(MINUS) ? text : `+${text}`;
}

/** A value with its interval; `note` gives the mark for a reason where something is missing. */
function show(found, note, { suffix = "", change = false, decimals = null } = {}) {
  if (found.value === null) return `n/a ${note(found.reason)}`;
  const sign = change ? signed : (text) => text;
  const places = decimals ?? decimalsOf(found);
  const value = `${isEstimate(found) ? ESTIMATE : ""}${sign(fixed(found.value, places))}${suffix}`;
  if (!hasInterval(found)) return `${value} ${note(found.reason)}`;
  const low = fixed(found.low, places);
  const between = change || low.includes(MINUS) ? " to " : TO;
  return `${value} (${sign(low)}${between}${sign(fixed(found.high, places))})`;
}

/** The value alone, for what is counted once. */
function only(found, note) {
  if (found.value === null) return show(found, note);
  return `${isEstimate(found) ? ESTIMATE : ""}${number(found.value)}`;
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
