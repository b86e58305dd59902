// The page: put its parts together and answer the reader.

import * as api from "./api.js";
import { chosenLabel, describe, onDrawn, removeSelected, select, selected, send, setClass } from "./corrections.js";
import { predict } from "./finding.js";
import { confirmRemoval, loadState, openImage, removeImage, sendFiles, stepImage } from "./images.js";
import { KEYS, onKey, setRadius } from "./keys.js";
import { $, attempt, overlay, say, state, store, tools, viewer } from "./page.js";
import * as panel from "./panel.js";
import {
  filterWords, readSizes, resize, setMode, setScore, setSide, setTheme, showCells, tellView,
} from "./shown.js";
import { TOOLS } from "./tools.js";

function hover(event) {
  const tip = $("tip");
  const point = state.image && viewer.toImage(event);
  const cell = point && tools.name === "hand" && event.pointerType !== "touch" && store.at(...point);
  tip.hidden = !cell;
  if (!cell) return;
  tip.textContent = describe(cell);
  const box = $("stage").getBoundingClientRect();
  const left = Math.min(event.clientX - box.left + 14, box.width - tip.offsetWidth - 6);
  const top = Math.min(event.clientY - box.top + 14, box.height - tip.offsetHeight - 6);
  tip.style.left = `${left}px`;
  tip.style.top = `${top}px`;
}

viewer.main.addHandler("canvas-click", (event) => {
  if (!event.quick || tools.name !== "hand" || !state.image) return;
  event.preventDefaultAction = true;
  const point = viewer.toImage(event.originalEvent);
  const cell = point && store.at(...point);
  const isMore = event.originalEvent.shiftKey || event.originalEvent.ctrlKey;
  if (!cell) return isMore ? undefined : select([]);
  if (!isMore) return select([cell.key]);
  const keys = new Set(state.selection);
  if (!keys.delete(cell.key)) keys.add(cell.key);
  return select([...keys]);
});

viewer.onView(() => {
  overlay.draw();
  tools.draw();
  panel.drawScaleBar($("scalebar"), viewer.view(), state.image?.um);
  tellView();
});
viewer.main.addHandler("open", () => {
  viewer.fade(Number($("fade").value));
  resize();
  panel.drawScaleBar($("scalebar"), viewer.view(), state.image?.um);
});
viewer.onDamage = () => {
  say(`A part of ${state.image?.name} cannot be read; it stays empty. Check the file.`);
};

function connect() {
  const on = (id, kind, call) => $(id).addEventListener(kind, call);
  on("image", "change", () => attempt(() => openImage($("image").value)));
  on("previous", "click", () => stepImage(-1));
  on("next", "click", () => stepImage(1));
  on("upload", "change", () => sendFiles([...$("upload").files]));
  on("remove", "click", confirmRemoval);
  on("ask", "close", removeImage);
  on("predict", "click", () => predict(null));
  on("predict-region", "click", () => tools.choose("region"));
  on("cancel", "click", () => attempt(() => api.change(`/api/images/${state.image.key}/cancel`)));
  on("score", "input", () => {
    setScore($("score").value);
    showCells();
  });
  for (const id of ["least", "most"]) {
    on(id, "input", () => {
      readSizes();
      showCells();
    });
  }
  on("fade", "input", () => viewer.fade(Number($("fade").value)));
  on("brush", "input", () => setRadius(Number($("brush").value)));
  on("side", "click", () => setSide($("side").getAttribute("aria-pressed") !== "true"));
  on("undo", "click", () => send("undo"));
  on("redo", "click", () => send("redo"));
  on("delete", "click", removeSelected);
  on("merge", "click", () => send("edit", { do: "merge", keys: selected() }));
  on("label", "change", () => setClass(chosenLabel()));
  on("review-all", "click", () => {
    const { width, height } = state.image || {};
    const points = [[0, 0], [width, 0], [width, height], [0, height]];
    if (state.image) send("edit", { do: "review", points });
  });
  // Of the filters, only the score counts: a cell hidden by class or area is not background.
  on("training", "click", () => {
    const path = `/api/training-data?score=${store.filter.score}`;
    attempt(() => api.download(path, "training-data.zip"));
  });
  on("help-button", "click", () => $("help").showModal());
  on("theme", "click", () => {
    const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    localStorage.setItem("theme", theme);
    setTheme(theme);
  });
  $("notice").querySelector("button").addEventListener("click", () => say(""));
  for (const button of document.querySelectorAll("[data-mode]")) {
    button.addEventListener("click", () => setMode(button.dataset.mode));
  }
  for (const button of document.querySelectorAll("[data-export]")) {
    button.addEventListener("click", () => {
      if (!state.image) return;
      const path = `/api/images/${state.image.key}/export/${button.dataset.export}`;
      attempt(() => api.download(`${path}?${filterWords()}`, button.dataset.export));
    });
  }
  $("viewer").addEventListener("pointermove", hover);
  $("viewer").addEventListener("pointerleave", () => ($("tip").hidden = true));
  $("stage").addEventListener("contextmenu", (event) => event.preventDefault());
  document.addEventListener("keydown", onKey);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    $("stage").classList.add("dropping");
  });
  document.addEventListener("dragleave", () => $("stage").classList.remove("dropping"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    $("stage").classList.remove("dropping");
    sendFiles([...event.dataTransfer.files]);
  });
  window.addEventListener("resize", resize);
  new ResizeObserver(resize).observe($("viewer"));
  tools.onDone = onDrawn;
  tools.onChoose = (name) => ($("cross").hidden = name === "hand");
  placeCross();
}

function placeCross() {
  const cross = $("cross");
  new ResizeObserver(() => {
    const stage = $("stage").getBoundingClientRect();
    const box = $("viewer").getBoundingClientRect();
    cross.style.left = `${box.left - stage.left + box.width / 2}px`;
    cross.style.top = `${box.top - stage.top + box.height / 2}px`;
  }).observe($("viewer"));
}

function fillHelp() {
  const rows = [...TOOLS.map((tool) => [tool.key, tool.words]), ...KEYS];
  for (const [key, words] of rows) {
    const term = document.createElement("dt");
    term.textContent = key;
    const text = document.createElement("dd");
    text.textContent = words;
    $("keys").append(term, text);
  }
}

async function begin() {
  const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
  setTheme(localStorage.getItem("theme") || (isDark ? "dark" : "light"));
  connect();
  fillHelp();
  setRadius(8);
  await attempt(loadState);
  if (!state.info) return;
  setScore(state.info.score);
  const wanted = location.hash.slice(1);
  const first = state.images.find((image) => image.key === wanted) || state.images[0];
  if (first) await attempt(() => openImage(first.key));
  else showCells();
  document.body.dataset.ready = "1";
}

// For tests and the curious: read only.
window.cellseg = { state, store, viewer, overlay, tools };
begin();
