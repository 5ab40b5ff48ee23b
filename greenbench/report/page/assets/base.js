"use strict";
// The page's data, and elements made without ever reading a string as HTML.

const DATA = JSON.parse(document.getElementById("data").textContent);

/** An element with properties and children; strings become text, null is left out. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

function byId(id) {
  return document.getElementById(id);
}

/** Pieces of our own sentences: each [kind, text]. */
function sentence(segments) {
  return segments.map(([kind, text]) => (kind === "text" ? text : make(kind, {}, text)));
}

/** The string kept at a place; null where there is none. */
function kept(place) {
  return place < 0 ? null : DATA.strings[place];
}

/** A table with a caption, its column titles, and rows of cells (strings or elements). */
function plainTable(caption, titles, rows) {
  const head = titles.map((title) => make("th", { scope: "col" }, title, termLink(title)));
  const body = rows.map(([first, ...rest]) =>
    make("tr", {}, make("th", { scope: "row" }, first), rest.map((cell) => make("td", { class: fit(cell) }, cell))),
  );
  return scroller(
    caption,
    make("table", {}, make("caption", {}, caption), make("thead", {}, make("tr", {}, head)), make("tbody", {}, body)),
  );
}

/** Numbers stay in one line; sentences get room. */
function fit(cell) {
  if (typeof cell !== "string") return "long";
  return cell.length < 34 ? "short" : "long";
}

/** A wide table scrolls in its own box, by keyboard too. */
function scroller(name, table) {
  return make("div", { class: "scroll", role: "region", "aria-label": name, tabindex: "0" }, table);
}

/** The exact command, and a button that copies it. */
function commandBox(command) {
  const said = make("span", { role: "status", class: "said" });
  const code = make("code", {}, command);
  const copy = make("button", { type: "button", onclick: () => copyText(command, code, said) }, "Copy");
  return make("div", { class: "command" }, code, copy, said);
}

/** Copy to the clipboard; where a browser refuses, select the text and say so. */
async function copyText(text, element, said) {
  try {
    await navigator.clipboard.writeText(text);
    said.textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren(element);
    said.textContent = "Selected: copy it with your keyboard.";
  }
}

/** Any JSON value in one line. */
function flat(value) {
  if (value === null) return "unknown";
  if (Array.isArray(value)) return value.map(flat).join("; ") || "none";
  if (typeof value === "object")
    return Object.entries(value).map(([name, part]) => `${name} ${flat(part)}`).join(", ") || "none";
  return String(value);
}
