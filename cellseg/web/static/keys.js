// Keys: everything on the page can be done with them.

import { removeSelected, select, selected, send, setClass, stepCell } from "./corrections.js";
import { stepImage } from "./images.js";
import { $, overlay, state, tools, viewer } from "./page.js";
import { setMode, setSide } from "./shown.js";
import { TOOLS } from "./tools.js";

export const KEYS = [
  ["Arrows, + \u2212, 0", "Move, zoom, show the whole image"],
  ["1 \u2013 9", "Set the class of the selected cells and of new ones"],
  ["Delete", "Delete the selected cells"],
  ["M", "Merge the selected cells"],
  ["Shift + click", "Add a cell to the selection"],
  ["N, Shift + N", "Next and previous cell"],
  ["Ctrl + Z, Ctrl + Shift + Z", "Undo, redo"],
  ["[ ]", "Smaller, larger brush"],
  ["Space, Enter", "Set a point under the cross, finish the outline"],
  ["Escape", "Cancel drawing, or select nothing"],
  ["O, X", "Outlines, filled or image only; side by side"],
  ["Page Up, Page Down", "Previous, next image"],
];

export function onKey(event) {
  const { target } = event;
  const isText = target.matches("input[type=number], select, dialog *");
  if (isText || document.querySelector("dialog[open]")) return;
  const isButton = target.matches("button, input, a, label");
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const call = event.ctrlKey || event.metaKey ? findCommand(key, event) : findAction(key, event);
  if (!call || (isButton && [" ", "Enter"].includes(key))) return;
  if (target.matches("input[type=range]") && key.startsWith("Arrow")) return;
  event.preventDefault();
  call();
}

function findCommand(key, event) {
  if (key === "z") return () => send(event.shiftKey ? "redo" : "undo");
  if (key === "y") return () => send("redo");
  return null;
}

function findAction(key, event) {
  const tool = TOOLS.find((own) => own.key.toLowerCase() === key);
  if (tool) return () => tools.choose(tool.name);
  if (/^[1-9]$/.test(key)) return () => setClass(Number(key) - 1);
  const radius = (step) => setRadius(Math.min(Math.max(tools.radius + step, 1), 60));
  const actions = {
    ArrowLeft: () => viewer.move(-0.15, 0),
    ArrowRight: () => viewer.move(0.15, 0),
    ArrowUp: () => viewer.move(0, -0.15),
    ArrowDown: () => viewer.move(0, 0.15),
    "+": () => viewer.zoom(1.5),
    "=": () => viewer.zoom(1.5),
    "-": () => viewer.zoom(1 / 1.5),
    0: () => viewer.home(),
    Delete: removeSelected,
    Backspace: () => (tools.points.length ? tools.dropPoint() : removeSelected()),
    m: () => state.selection.size > 1 && send("edit", { do: "merge", keys: selected() }),
    n: () => stepCell(event.shiftKey ? -1 : 1),
    "[": () => radius(-1),
    "]": () => radius(1),
    " ": () => tools.setAtCross(),
    Enter: () => tools.finish(),
    Escape: () => (tools.points.length ? tools.cancel() : escape()),
    o: () => setMode({ outlines: "filled", filled: "none", none: "outlines" }[overlay.mode]),
    x: () => setSide($("side").getAttribute("aria-pressed") !== "true"),
    PageUp: () => stepImage(-1),
    PageDown: () => stepImage(1),
    "?": () => $("help").showModal(),
  };
  return actions[key];
}

function escape() {
  tools.choose("hand");
  select([]);
}

export function setRadius(value) {
  tools.radius = value;
  $("brush").value = value;
  $("brush-out").textContent = value;
  tools.draw();
}
