// What is shown: filters, counts, how cells are drawn, light and dark.

import { $, overlay, state, store, tools, viewer } from "./page.js";
import * as panel from "./panel.js";

let isDue = false;

export function showCells() {
  overlay.refresh();
  if (isDue) return;
  isDue = true;
  setTimeout(() => {
    isDue = false;
    const cells = store.shown();
    const { classes } = state.info;
    panel.drawCounts($("counts"), classes, overlay.colors, cells, store.filter, (label, isOn) => {
      if (isOn) store.filter.hidden.delete(label);
      else store.filter.hidden.add(label);
      showCells();
    });
    panel.drawHistogram($("histogram"), $("statistics"), cells, state.image);
    tellView();
  }, 60);
}

let rest = 0;

// Tell what is in view, once it rests; and that tiles are on their way, where that takes long.
export function tellView() {
  clearTimeout(rest);
  rest = setTimeout(() => {
    const view = viewer.view();
    $("in-view").textContent = panel.describeView(store, view, state.image);
    const isRead = !state.image || viewer.main.world.getItemAt(0)?.getFullyLoaded();
    $("loading").hidden = Boolean(isRead);
    if (!isRead) tellView();
  }, 400);
}

export function readSizes() {
  const factor = state.image?.um ? state.image.um ** 2 : 1;
  const number = (id, otherwise) => ($(id).value === "" ? otherwise : Number($(id).value) / factor);
  store.filter.least = number("least", 0);
  store.filter.most = number("most", Infinity);
}

export function setScore(value) {
  store.filter.score = Number(value);
  $("score").value = value;
  $("score-out").textContent = Number(value).toFixed(2);
}

export function setMode(mode) {
  overlay.mode = mode;
  for (const button of document.querySelectorAll("[data-mode]")) {
    button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
  }
  overlay.refresh();
}

export function setSide(isOn) {
  $("side").setAttribute("aria-pressed", String(isOn));
  $("stage").classList.toggle("split", isOn);
  viewer.split(isOn);
  requestAnimationFrame(resize);
}

export function resize() {
  overlay.resize();
  overlay.draw();
  tools.draw();
}

export function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  if (state.info) showCells();
}

export function filterWords() {
  const { score, least, most, hidden } = store.filter;
  const words = new URLSearchParams({ score: String(score), least: String(least) });
  if (most !== Infinity) words.set("most", String(most));
  if (hidden.size) {
    words.set("classes", state.info.classes.map((_, i) => i).filter((i) => !hidden.has(i)).join(","));
  }
  return words;
}
