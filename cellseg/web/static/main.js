// The page: put its parts together and answer the reader.

import * as api from "./api.js";
import { Cell, CellStore } from "./cells.js";
import { Overlay } from "./overlay.js";
import * as panel from "./panel.js";
import { TOOLS, Tools } from "./tools.js";
import { Viewer } from "./viewer.js";

const $ = (id) => document.getElementById(id);
const POLL_MS = 400;
const RETRY_MS = 2000;

const state = { info: null, images: [], image: null, log: null, selection: new Set(), um: null };
const store = new CellStore();
const viewer = new Viewer($("viewer"), $("twin"));

function addCanvas(name) {
  const canvas = document.createElement("canvas");
  canvas.className = name;
  $("viewer").append(canvas);
  return canvas;
}

const overlay = new Overlay(addCanvas("cells-canvas"), store, () => viewer.view());
const tools = new Tools($("tools"), addCanvas("draw-canvas"), viewer, onDrawn);
overlay.selection = state.selection;

// --- words for the reader ----------------------------------------------------------------------

function say(words) {
  $("notice").hidden = !words;
  $("notice").querySelector("span").textContent = words || "";
}

async function attempt(call) {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof api.ServerError)) throw error;
    say(error.message);
    if (error.status === 0) waitForServer();
    return null;
  }
}

let isWaiting = false;

async function waitForServer() {
  if (isWaiting) return;
  isWaiting = true;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    try {
      await api.read("/api/state");
      break;
    } catch {
      // still away
    }
  }
  isWaiting = false;
  say("");
  await loadState();
  if (state.image) await openImage(state.image.key, true);
}

// --- images ------------------------------------------------------------------------------------

async function loadState() {
  const info = await api.read("/api/state");
  state.info = info;
  state.images = info.images;
  overlay.colors = info.colors.map(([r, g, b]) => `rgb(${r},${g},${b})`);
  const model = $("model").value;
  $("model").replaceChildren(...info.models.map((name) => new Option(name, name)));
  if (info.models.includes(model)) $("model").value = model;
  $("invite").textContent =
    `TIFF, slide, PNG, JPEG or BMP, up to ${info.limits}. Images stay on this server.`;
  $("score").min = info.lowest_score;
  $("label").replaceChildren(
    ...info.classes.map((name, label) => new Option(`${label + 1}  ${name}`, String(label))),
  );
  listImages();
}

function listImages() {
  const list = state.images.map((image) => new Option(image.name, image.key));
  $("image").replaceChildren(...(list.length ? list : [new Option("no image", "")]));
  $("image").disabled = !list.length;
  if (state.image) $("image").value = state.image.key;
  const many = state.images.length > 1;
  $("previous").hidden = $("next").hidden = !many;
  $("remove").hidden = !state.image || state.image.given;
  $("empty").hidden = Boolean(state.image);
}

function stepImage(step) {
  const place = state.images.findIndex((image) => image.key === state.image?.key);
  const next = state.images[(place + step + state.images.length) % state.images.length];
  if (next) attempt(() => openImage(next.key));
}

async function openImage(key, keepsView = false) {
  const image = await api.read(`/api/images/${key}`);
  const isOther = state.image?.key !== key;
  state.image = image;
  location.hash = key;
  select([]);
  listImages();
  if (isOther || !keepsView) viewer.open(image);
  $("unit").textContent = image.um ? "\u00b5m\u00b2" : "px";
  $("scale-note").textContent = image.scale.join("");
  readSizes();
  await loadCells();
  watchJob();
}

async function loadCells() {
  const { key } = state.image;
  const answer = await api.read(`/api/images/${key}/cells`);
  if (state.image?.key !== key) return;
  store.clear();
  answer.cells.forEach((cell) => store.add(cell));
  takeLog(answer);
  showCells();
}

async function sendFiles(files) {
  for (const file of files) {
    say("");
    $("saved").textContent = "";
    if (file.size > state.info.max_bytes) {
      say(`${file.name} has more than the limit of ${panel.format(state.info.max_bytes / 2 ** 20)} MiB; ` +
        "start the page with the file itself: cellseg web FILE.");
      continue;
    }
    $("upload-label").firstChild.textContent = "Sending\u2026";
    const sent = await attempt(() => api.upload(file));
    $("upload-label").firstChild.textContent = "Upload";
    if (!sent) continue;
    state.images.push(sent);
    await attempt(() => openImage(sent.key));
  }
  $("upload").value = "";
}

function confirmRemoval() {
  $("ask-words").textContent = `Remove ${state.image.name} and its cells from the server?`;
  $("ask").returnValue = "";
  $("ask").showModal();
}

async function removeImage() {
  if ($("ask").returnValue !== "yes") return;
  const { key } = state.image;
  if (!(await attempt(() => api.change(`/api/images/${key}/remove`)))) return;
  state.images = state.images.filter((image) => image.key !== key);
  state.image = null;
  store.clear();
  if (state.images.length) {
    await attempt(() => openImage(state.images[0].key));
  } else {
    viewer.close();
    showCells();
  }
  listImages();
}

// --- what is shown -----------------------------------------------------------------------------

let isDue = false;

function showCells() {
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
function tellView() {
  clearTimeout(rest);
  rest = setTimeout(() => {
    const view = viewer.view();
    $("in-view").textContent = panel.describeView(store, view, state.image);
    const isRead = !state.image || viewer.main.world.getItemAt(0)?.getFullyLoaded();
    $("loading").hidden = Boolean(isRead);
    if (!isRead) tellView();
  }, 400);
}

function readSizes() {
  const factor = state.image?.um ? state.image.um ** 2 : 1;
  const number = (id, otherwise) => ($(id).value === "" ? otherwise : Number($(id).value) / factor);
  store.filter.least = number("least", 0);
  store.filter.most = number("most", Infinity);
}

function setScore(value) {
  store.filter.score = Number(value);
  $("score").value = value;
  $("score-out").textContent = Number(value).toFixed(2);
}

function setMode(mode) {
  overlay.mode = mode;
  for (const button of document.querySelectorAll("[data-mode]")) {
    button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
  }
  overlay.refresh();
}

function setSide(isOn) {
  $("side").setAttribute("aria-pressed", String(isOn));
  $("stage").classList.toggle("split", isOn);
  viewer.split(isOn);
  requestAnimationFrame(resize);
}

function resize() {
  overlay.resize();
  overlay.draw();
  tools.draw();
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  if (state.info) showCells();
}

function filterWords() {
  const { score, least, most, hidden } = store.filter;
  const words = new URLSearchParams({ score: String(score), least: String(least) });
  if (most !== Infinity) words.set("most", String(most));
  if (hidden.size) {
    words.set("classes", state.info.classes.map((_, i) => i).filter((i) => !hidden.has(i)).join(","));
  }
  return words;
}

// --- finding cells -----------------------------------------------------------------------------

async function predict(points) {
  if (!state.image) return;
  say("");
  const scale = $("scale").value === "" ? null : Number($("scale").value);
  const { key } = state.image;
  const model = $("model").value;
  if (await attempt(() => api.change(`/api/images/${key}/predict`, { points, scale, model }))) watchJob(true);
}

let watch = 0;

async function watchJob(isNew = false) {
  const own = ++watch;
  const { key } = state.image;
  let since = 0;
  store.found = [];
  let hasRun = isNew; // of an old job only the result is told
  $("job").hidden = true;
  while (own === watch && state.image?.key === key) {
    let job;
    try {
      ({ job } = await api.read(`/api/images/${key}/job?since=${since}`));
    } catch (error) {
      say(error.message);
      if (error.status === 0) waitForServer();
      return;
    }
    if (own !== watch) return;
    if (!job) return;
    const isOver = ["done", "stopped", "failed"].includes(job.state);
    if (isOver && !hasRun) {
      if (job.state !== "failed") $("scale-note").textContent = job.words;
      return;
    }
    hasRun = true;
    showJob(job);
    if (isOver) {
      store.found = [];
      $("job").hidden = true;
      if (job.state === "failed") say(job.words);
      else $("scale-note").textContent = [job.words, ...job.warnings].join(" ");
      await attempt(loadCells);
      return;
    }
    since = job.count;
    if (job.found.length) {
      for (const entry of job.found) store.found.push(new Cell(entry));
      overlay.refresh();
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function showJob(job) {
  $("job").hidden = false;
  const progress = $("progress");
  if (job.total) {
    progress.max = job.total;
    progress.value = job.done;
  } else {
    progress.removeAttribute("value");
  }
  let words = job.words || "Starting\u2026";
  if (job.state === "waiting") words = `Waiting: ${job.ahead} ahead or at work`;
  else if (job.total) words = `${job.done} of ${job.total} tiles, ${panel.format(job.count)} cells`;
  if (job.left_s !== null) words += `, about ${describeTime(job.left_s)} left`;
  $("job-words").textContent = words;
}

const describeTime = (seconds) =>
  seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;

// --- corrections -------------------------------------------------------------------------------

let line = Promise.resolve(); // changes are sent one after another

function send(what, values = {}) {
  line = line.then(() => sendNow(what, values)).catch((error) => console.error(error));
  return line;
}

async function sendNow(what, values, isSecond = false) {
  if (!state.image || isWaiting) return null;
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

function takeLog(answer) {
  state.log = answer;
  overlay.regions = answer.regions;
  const tell = (id, name, words) => {
    $(id).disabled = !name;
    $(id).textContent = name ? `${words}: ${name}` : words;
  };
  tell("undo", answer.undo, "Undo");
  tell("redo", answer.redo, "Redo");
  $("reviewed").textContent = answer.regions.length
    ? `${answer.regions.length} reviewed`
    : "none reviewed";
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

function select(keys) {
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

function describe(cell) {
  const score = cell.score === null ? "by hand" : `score ${cell.score.toFixed(2)}`;
  const name = state.info.classes[cell.label];
  return `${name}, ${score}, ${panel.describeArea(cell.area, state.image.um)}`;
}

const selected = () => [...state.selection];
const chosenLabel = () => Number($("label").value || 0);

function onDrawn(name, points) {
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
    if (!keys.length) say("The line meets no cell.");
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

function setClass(label) {
  if (label >= state.info.classes.length) return;
  $("label").value = String(label);
  if (state.selection.size) send("edit", { do: "class", keys: selected(), label });
}

function removeSelected() {
  if (state.selection.size) send("edit", { do: "delete", keys: selected() });
}

// Go to the next cell in reading order, so that cells can be chosen without a mouse.
function stepCell(step) {
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

// --- the mouse over cells ----------------------------------------------------------------------

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

// --- keys --------------------------------------------------------------------------------------

const KEYS = [
  ["Arrows, + \u2212, 0", "Move, zoom, whole image"],
  ["1 \u2013 9", "Class of the selected and the next cells"],
  ["Delete", "Delete the selected cells"],
  ["M", "Merge the selected cells"],
  ["Shift + click", "Select more cells"],
  ["N, Shift + N", "Next and previous cell"],
  ["Ctrl + Z, Ctrl + Shift + Z", "Undo, redo"],
  ["[ ]", "Smaller, larger brush"],
  ["Space, Enter", "Point under the cross, finish"],
  ["Escape", "Drop what is drawn or selected"],
  ["O, X", "Outlines, filled or image; side by side"],
  ["Page Up, Page Down", "Other image"],
];

function onKey(event) {
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

function setRadius(value) {
  tools.radius = value;
  $("brush").value = value;
  $("brush-out").textContent = value;
  tools.draw();
}

// --- begin -------------------------------------------------------------------------------------

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
  on("training", "click", () =>
    attempt(() => api.download(`/api/training-data?${filterWords()}`, "training-data.zip")));
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
