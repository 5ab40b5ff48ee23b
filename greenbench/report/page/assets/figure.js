"use strict";
// Quality against a ratio: one group's runs as points with their intervals, by Observable Plot.

const DRAWN = 300; // points; more could be neither told apart nor drawn quickly
const REACH = 28; // pixels from a point within which the pointer means it
const LOG_FROM = 8; // ratios further apart than this need a logarithmic axis
const MARGIN_LEFT = 44;
const KINDS = {
  member: { symbol: "star", sign: "★", text: "on the frontier" },
  beaten: { symbol: "circle", sign: "●", text: "beaten" },
  again: { symbol: "diamond", sign: "◆", text: "A/A run (baseline)" },
};

/** The runs of an axis as points: place, intervals, kind. */
function pointsOf(axis, visible) {
  const members = new Set(axis.members);
  return axis.placed.filter((number) => visible.has(number)).slice(0, DRAWN).map((number) => {
    const run = DATA.runs[number];
    const x = read(run, "ratios", axis.ratio), y = read(run, "derived", "quality");
    const moved = read(run, "derived", "quality_change");
    const bar = hasInterval(moved) ? [moved.low, moved.high].map((bound) => y.value + bound - moved.value) : [y.value, y.value];
    return {
      run, x: x.value, y: y.value, xs: hasInterval(x) ? [x.low, x.high] : [x.value, x.value],
      ys: [Math.max(0, bar[0]), Math.min(100, bar[1])],
      kind: run.aa ? "again" : members.has(number) ? "member" : "beaten",
    };
  });
}

/** Corners of the frontier, from the least up, to the right edge. */
function staircase(axis, right) {
  const corners = axis.members.map((number) => ({ x: read(DATA.runs[number], "ratios", axis.ratio).value, y: read(DATA.runs[number], "derived", "quality").value }));
  corners.sort((a, b) => a.x - b.x);
  return corners.length ? [...corners, { x: right, y: corners.at(-1).y }] : [];
}

/** Limits of an axis around values, with some room. */
function limits(values, log) {
  const low = Math.min(...values), high = Math.max(...values);
  if (log) return [low / (high / low) ** 0.08, high * (high / low) ** 0.08];
  const room = 0.08 * (high - low || 1);
  return [low - room, high + room];
}

/** 1, 2 and 5 times the powers of ten within limits, for a logarithmic axis. */
function logTicks([low, high]) {
  const powers = [-4, -3, -2, -1, 0, 1, 2, 3, 4];
  return powers.flatMap((power) => [1, 2, 5].map((part) => part * 10 ** power)).filter((tick) => tick >= low && tick <= high);
}

function plot(axis, points, width) {
  const xs = points.flatMap((point) => [...point.xs, point.x]);
  const log = Math.min(...xs) > 0 && Math.max(...xs) > LOG_FROM * Math.min(...xs);
  const xLimits = limits(xs, log);
  const yLimits = limits(points.flatMap((point) => point.ys), false);
  const colour = (point) => `var(--${point.kind})`;
  return Plot.plot({
    width, height: Math.max(300, Math.min(520, width * 0.55)), marginLeft: MARGIN_LEFT, marginBottom: 44, marginTop: 28, marginRight: 16,
    style: { background: "transparent", fontSize: "13px", overflow: "visible" },
    ariaLabel: null,
    x: { domain: xLimits, type: log ? "log" : "linear", label: `← ${title(axis.ratio)}, ratio to the baseline; less is better`, labelArrow: "none", labelAnchor: "left", tickFormat: (tick) => `${+tick.toPrecision(4)}${TIMES}`, ticks: log ? logTicks(xLimits) : Math.max(3, Math.round(width / 110)), grid: true },
    y: { domain: yLimits, label: "↑ quality: items answered right, %", grid: true, ticks: 6 },
    marks: [
      Plot.ruleX([1], { stroke: "currentColor", strokeOpacity: 0.45 }),
      Plot.line(staircase(axis, xLimits[1]), { x: "x", y: "y", curve: "step-after", stroke: "var(--member)", strokeWidth: 1.5, strokeDasharray: "5 3", clip: true }),
      Plot.ruleY(points, { y: "y", x1: (point) => point.xs[0], x2: (point) => point.xs[1], stroke: colour, strokeOpacity: 0.75, strokeWidth: 1.4 }),
      Plot.ruleX(points, { x: "x", y1: (point) => point.ys[0], y2: (point) => point.ys[1], stroke: colour, strokeOpacity: 0.75, strokeWidth: 1.4 }),
      Plot.dot(points, { x: "x", y: "y", symbol: { value: (point) => KINDS[point.kind].symbol }, r: 6, fill: colour, stroke: "var(--paper)", strokeWidth: 1 }),
      Plot.text(points, { x: "x", y: "y", text: (point) => shortened(point.run), textAnchor: "start", dx: 9, dy: -9, fill: "currentColor", stroke: "var(--paper)", strokeWidth: 3, ariaHidden: "true", className: "labels" }),
      Plot.dot(points, { x: "x", y: "y", r: 13, fill: "transparent", className: "targets" }),
    ],
  });
}

function shortened(run) {
  return `${run.label.length > 26 ? `${run.label.slice(0, 13)}…${run.label.slice(-12)}` : run.label}${run.outcome === "flagged" ? " ⚑" : ""}`;
}

/** Put each label beside its point, where it covers no point and no earlier label; else hide it. */
function placeLabels(labels, targets, frame) {
  const taken = targets.map((target) => moved(target.getBoundingClientRect(), 0, 0, 7));
  for (const label of labels) {
    const box = label.getBoundingClientRect();
    const west = -box.width - 18, south = box.height + 6;
    const shifts = [[0, 0], [west, 0], [0, south], [west, south], [0, -12], [west, -12], [0, south + 12], [west, south + 12]];
    const free = ([x, y]) => {
      const there = moved(box, x, y, 0);
      return there.left >= frame.left && there.right <= frame.right && !taken.some((other) => overlap(there, other));
    };
    const found = shifts.find(free);
    if (!found) label.style.display = "none";
    else {
      label.setAttribute("dx", found[0]);
      label.setAttribute("dy", found[1]);
      taken.push(moved(box, ...found, 0));
    }
  }
}

/** Where labels may stand: right of the axis. */
function inner(frame) {
  return { left: frame.left + MARGIN_LEFT, right: frame.right };
}

function moved(box, x, y, shrink) {
  return { left: box.left + x + shrink, right: box.right + x - shrink, top: box.top + y + shrink, bottom: box.bottom + y - shrink };
}

function overlap(a, b) {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

/** What a point says: the run, its intervals, its command. */
function pointLines(axis, { run, kind }) {
  const share = run.probability === null || !axis.drawn ? "" : `, in ${run.share} of draws`;
  return [
    `${title(axis.ratio)}: ${show(read(run, "ratios", axis.ratio), inWords)} the baseline`,
    `quality: ${show(read(run, "derived", "quality"), inWords)} %`,
    `quality change: ${show(read(run, "derived", "quality_change"), inWords)} points`,
    `${KINDS[kind].text}${kind === "beaten" ? "" : share}${run.outcome === "flagged" ? "; flagged: something disturbed it" : ""}`,
  ];
}

/** The figure of one group and axis, with its legend, its reading aids and its numbers as a table. */
class Figure {
  constructor(place) {
    this.place = place;
    this.stage = make("div", { class: "stage" });
    this.tip = make("div", { class: "tip", hidden: true, "aria-hidden": "true" });
    this.tip.addEventListener("mouseenter", () => clearTimeout(this.leaving));
    this.tip.addEventListener("mouseleave", () => this.hide());
    this.width = 0;
    new ResizeObserver(([entry]) => this.resized(Math.round(entry.contentRect.width))).observe(place);
  }

  resized(width) {
    if (width === this.width || !width) return;
    this.width = width;
    this.draw();
  }

  /** Show `group` against `axis`, the runs in `visible` alone. */
  show(group, axis, visible) {
    Object.assign(this, { group, axis, visible });
    this.draw();
  }

  draw() {
    if (!this.width || !this.group) return;
    this.hide();
    const { axis } = this;
    const points = axis ? pointsOf(axis, this.visible) : [];
    if (!points.length) {
      const said = axis ? "No run that the filters let through can be drawn." : "No run of this group has both an accuracy and a ratio.";
      this.place.replaceChildren(make("p", { class: "notice" }, said));
      return;
    }
    this.stage.replaceChildren(plot(axis, points, this.width), this.tip);
    this.place.replaceChildren(this.legend(), this.stage, this.caption(points.length), this.table(points));
    this.arm(points);
  }

  legend() {
    const kinds = Object.entries(KINDS).map(([kind, { sign, text }]) => make("li", {}, make("span", { class: kind, "aria-hidden": "true" }, sign), ` ${text}`));
    const rest = ["┼ 95 % intervals (vertical: of the change from the baseline)", "╌ the frontier"];
    return make("ul", { class: "legend" }, kinds, rest.map((text) => make("li", {}, text)));
  }

  caption(drawn) {
    const { group, axis } = this;
    const shown = axis.placed.filter((number) => this.visible.has(number)).length;
    const parts = [`${group.title}; tier ${group.tier}. Joules: ${group.meter}.`];
    if (!group.measured && axis.ratio.includes("energy")) parts.push("≈ estimated from CPU time, not measured.");
    if (drawn < shown) parts.push(`${drawn} of ${shown} runs are drawn: filter to see the others.`);
    parts.push("Point at a run, or reach the figure with Tab and move with the arrow keys; Enter shows all about it.");
    return make("p", { class: "caption" }, parts.join(" "));
  }

  table(points) {
    const { axis } = this;
    const rows = points.map(({ run, kind }) => [
      run.label + marks(run), show(read(run, "ratios", axis.ratio), inWords), show(read(run, "derived", "quality"), inWords),
      show(read(run, "derived", "quality_change"), inWords), KINDS[kind].text,
    ]);
    const titles = ["technique", `${title(axis.ratio)}, ratio`, "quality, %", "quality change, points", "place"];
    return make("details", {}, make("summary", {}, "The figure's numbers as a table"), plainTable(`The figure's numbers: ${this.group.title}`, titles, rows));
  }

  /** Make the points reachable by pointer and keyboard; one Tab stop, arrows from the left to the right. */
  arm(points) {
    const svg = this.stage.querySelector("svg");
    svg.setAttribute("role", "group");
    svg.setAttribute("aria-label", `Quality against ${title(this.axis.ratio)}: ${points.length} runs`);
    for (const part of svg.children) if (!part.classList.contains("targets")) part.setAttribute("aria-hidden", "true");
    svg.querySelector(".targets").removeAttribute("aria-label");
    const targets = [...svg.querySelectorAll(".targets > *")];
    placeLabels(svg.querySelectorAll(".labels > text"), targets, inner(svg.getBoundingClientRect()));
    this.targets = targets.sort((a, b) => points[a.__data__].x - points[b.__data__].x);
    this.targets.forEach((target, index) => this.armOne(target, index, points[target.__data__]));
    this.follow(svg, points);
  }

  /** The pointer means the nearest point: in a crowd no point hides under another. */
  follow(svg, points) {
    const nearest = (event) => {
      const box = svg.getBoundingClientRect();
      const away = (target) => Math.hypot(target.getAttribute("cx") - event.clientX + box.left, target.getAttribute("cy") - event.clientY + box.top);
      const found = this.targets.reduce((best, target) => (away(target) < away(best) ? target : best));
      return away(found) <= REACH ? found : null;
    };
    svg.addEventListener("pointermove", (event) => {
      const target = nearest(event);
      svg.classList.toggle("near", Boolean(target));
      if (target) this.tell(target, points[target.__data__]);
      else this.leave();
    });
    svg.addEventListener("pointerleave", () => this.leave());
    svg.addEventListener("click", (event) => {
      const target = nearest(event);
      if (!target) return;
      target.focus();
      openRun(points[target.__data__].run);
    });
  }

  armOne(target, index, point) {
    const said = [point.run.label, ...pointLines(this.axis, point)].join("; ");
    for (const [name, value] of Object.entries({ role: "button", tabindex: index ? "-1" : "0", "aria-label": said })) target.setAttribute(name, value);
    target.addEventListener("focus", () => this.tell(target, point));
    target.addEventListener("blur", () => this.hide());
    target.addEventListener("click", (event) => (event.stopPropagation(), openRun(point.run))); // a screen reader's
    target.addEventListener("keydown", (event) => this.key(event, index, point));
  }

  key(event, index, point) {
    const last = this.targets.length - 1;
    const goals = { ArrowRight: index + 1, ArrowDown: index + 1, ArrowLeft: index - 1, ArrowUp: index - 1, Home: 0, End: last };
    if (event.key === "Enter" || event.key === " ") openRun(point.run);
    else if (event.key === "Escape") this.hide();
    else if (event.key in goals) this.step(index, Math.max(0, Math.min(last, goals[event.key])));
    else return;
    event.preventDefault();
  }

  step(from, to) {
    this.targets[from].setAttribute("tabindex", "-1");
    this.targets[to].setAttribute("tabindex", "0");
    this.targets[to].focus();
  }

  tell(target, point) {
    clearTimeout(this.leaving);
    if (this.told === target) return;
    this.told?.classList.remove("told");
    this.told = target;
    target.classList.add("told");
    const lines = pointLines(this.axis, point).map((line) => make("p", {}, line));
    this.tip.replaceChildren(make("strong", {}, point.run.label), ...lines, make("code", {}, point.run.command));
    this.tip.hidden = false;
    const stage = this.stage.getBoundingClientRect(), dot = target.getBoundingClientRect();
    const left = Math.min(dot.right - stage.left, stage.width - this.tip.offsetWidth);
    const under = dot.bottom - stage.top + 4, over = dot.top - stage.top - this.tip.offsetHeight - 4;
    this.tip.style.left = `${Math.max(0, left)}px`;
    this.tip.style.top = `${over > 0 ? over : under}px`;
  }

  /** Hide in a moment, so that the pointer can reach what is told. */
  leave() {
    clearTimeout(this.leaving);
    this.leaving = setTimeout(() => this.hide(), 200);
  }

  hide() {
    clearTimeout(this.leaving);
    this.told?.classList.remove("told");
    this.told = null;
    this.tip.hidden = true;
  }
}
