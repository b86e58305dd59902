// Corrections: each is sent at once, one after another, and saved before it counts.

import * as api from "./api.js";
import { predict } from "./finding.js";
import { loadCells } from "./images.js";
import { $, attempt, isAway, overlay, say, state, store, tools, viewer, waitForServer } from "./page.js";
import * as panel from "./panel.js";
import { showCells } from "./shown.js";

let line = Promise.resolve(); // changes are sent one after another

export function send(what, values = {}) {
  line = line.then(() => sendNow(what, values)).catch((error) => console.error(error));
  return line;
}

async function sendNow(what, values, isSecond = false) {
  if (!state.image || isAway()) return null;
  const { key } = state.image;
  $("saved").textContent = "saving\u2026";
  let answer;
  try {
    answer = await api.change(`/api/images/${key}/${what}`, {
      ...values,
      revision: state.log.revision,
    });
  } catch (error) {
    $("saved").textContent = "";
    if (!(error instanceof api.ServerError)) throw error;
    if (error.status === 409) {
      // The cells were changed meanwhile, by a prediction or another person. What the reader did
      // still holds, unless it was an undo of what is no longer the last step.
      await attempt(loadCells);
      if (what === "edit" && !isSecond) return sendNow(what, values, true);
    }
    say(error.message);
    if (error.status === 0) waitForServer();
    return null;
  }
  say("");
  answer.removed.forEach((own) => store.remove(own));
  answer.added.forEach((cell) => store.add(cell));
  takeLog(answer);
  const wasSelected = answer.removed.some((own) => state.selection.has(own));
  if (wasSelected || values.do === "draw" || (values.do === "brush" && !values.keys)) {
    select(answer.added.slice(0, 1000).map((cell) => cell.k));
  }
  $("saved").textContent = "saved";
  showCells();
  return answer;
}

export function takeLog(answer) {
  state.log = answer;
  overlay.regions = answer.regions;
  const tell = (id, name, words) => {
    $(id).disabled = !name;
    $(id).textContent = name ? `${words}: ${name}` : words;
  };
  tell("undo", answer.undo, "Undo");
  tell("redo", answer.redo, "Redo");
  $("reviewed").textContent = answer.regions.length
    ? `${answer.regions.length} reviewed ${answer.regions.length === 1 ? "region" : "regions"}`
    : "no reviewed region";
  $("regions").replaceChildren(...answer.regions.map(makeRegion));
}

function makeRegion(region, number) {
  const item = document.createElement("li");
  const xs = region.map(([x]) => x);
  const ys = region.map(([, y]) => y);
  const size = [xs, ys].map((own) => panel.format(Math.max(...own) - Math.min(...own)));
  item.append(`Region ${number + 1}: ${size.join(" \u00d7 ")} px`);
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Remove";
  button.setAttribute("aria-label", `Remove reviewed region ${number + 1}`);
  button.addEventListener("click", () => send("edit", { do: "unreview", region: number }));
  item.append(button);
  return item;
}

export function select(keys) {
  state.selection.clear();
  keys.forEach((key) => state.selection.add(key));
  const cells = keys.map((key) => store.byKey.get(key)).filter(Boolean);
  $("delete").disabled = !cells.length;
  $("merge").disabled = cells.length < 2;
  $("selection").textContent = cells.length === 1
    ? `Selected: ${describe(cells[0])}`
    : cells.length ? `${cells.length} cells are selected.` : "No cell is selected.";
  if (cells.length === 1) $("label").value = String(cells[0].label);
  overlay.refresh();
}

export function describe(cell) {
  const score = cell.score === null ? "by hand" : `score ${cell.score.toFixed(2)}`;
  const name = state.info.classes[cell.label];
  return `${name}, ${score}, ${panel.describeArea(cell.area, state.image.um)}`;
}

export const selected = () => [...state.selection];
export const chosenLabel = () => Number($("label").value || 0);

export function onDrawn(name, points) {
  if (!state.image) return;
  const one = selected().slice(0, 1);
  if (name === "polygon" || name === "freehand") {
    send("edit", { do: "draw", points, label: chosenLabel() });
  } else if (name === "redraw") {
    if (state.selection.size !== 1) say("Select the cell to redraw first (key V, then a click).");
    else send("edit", { do: "redraw", keys: one, points });
  } else if (name === "brush") {
    const keys = state.selection.size === 1 ? one : null;
    send("edit", { do: "brush", keys, points, radius: tools.radius, label: chosenLabel() });
  } else if (name === "erase") {
    const keys = one.length ? one : [store.at(...points[0])?.key].filter(Boolean);
    if (!keys.length) say("Select the cell to erase from first.");
    else send("edit", { do: "brush", keys, points, radius: tools.radius, erase: true });
  } else if (name === "split") {
    const keys = state.selection.size ? selected() : cellsUnder(points);
    if (!keys.length) say("The line crosses no cell.");
    else send("edit", { do: "split", keys, points });
  } else if (name === "review") {
    send("edit", { do: "review", points });
  } else if (name === "region") {
    tools.choose("hand");
    predict(points);
  }
}

function cellsUnder(points) {
  const keys = new Set();
  points.forEach(([x, y], i) => {
    const [px, py] = points[Math.max(i - 1, 0)];
    const steps = Math.max(Math.ceil(Math.hypot(x - px, y - py)), 1);
    for (let step = 0; step <= steps; step++) {
      const cell = store.at(px + ((x - px) * step) / steps, py + ((y - py) * step) / steps);
      if (cell) keys.add(cell.key);
    }
  });
  return [...keys];
}

export function setClass(label) {
  if (label >= state.info.classes.length) return;
  $("label").value = String(label);
  const keys = selected().filter((key) => store.byKey.get(key)?.label !== label);
  if (keys.length) send("edit", { do: "class", keys, label });
}

export function removeSelected() {
  if (state.selection.size) send("edit", { do: "delete", keys: selected() });
}

// Go to the next cell in reading order, so that cells can be chosen without a mouse.
export function stepCell(step) {
  const view = viewer.view();
  if (!view) return;
  const row = (cell) => Math.floor((cell.y1 + cell.y2) / 2 / 64);
  const cells = store.shown().sort((a, b) => row(a) - row(b) || a.x1 - b.x1);
  if (!cells.length) return;
  const place = cells.findIndex((cell) => state.selection.has(cell.key));
  const next = cells[(place + step + cells.length) % cells.length];
  select([next.key]);
  viewer.show((next.x1 + next.x2) / 2, (next.y1 + next.y2) / 2, 2);
}
