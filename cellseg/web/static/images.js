// The images: list, open, upload and remove them.

import * as api from "./api.js";
import { select, takeLog } from "./corrections.js";
import { watchJob } from "./finding.js";
import { $, attempt, overlay, say, state, store, viewer } from "./page.js";
import * as panel from "./panel.js";
import { readSizes, showCells } from "./shown.js";

export async function loadState() {
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

export function stepImage(step) {
  const place = state.images.findIndex((image) => image.key === state.image?.key);
  const next = state.images[(place + step + state.images.length) % state.images.length];
  if (next) attempt(() => openImage(next.key));
}

export async function openImage(key, keepsView = false) {
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

export async function loadCells() {
  const { key } = state.image;
  const answer = await api.read(`/api/images/${key}/cells`);
  if (state.image?.key !== key) return;
  store.clear();
  answer.cells.forEach((cell) => store.add(cell));
  takeLog(answer);
  showCells();
}

export async function sendFiles(files) {
  for (const file of files) {
    say("");
    $("saved").textContent = "";
    if (file.size > state.info.max_bytes) {
      say(`${file.name} has more than the limit of ${panel.format(state.info.max_bytes / 2 ** 20)} MiB; ` +
        "start the page with the file itself: cellseg web FILE.");
      continue;
    }
    $("upload-label").firstChild.textContent = "Uploading\u2026";
    const sent = await attempt(() => api.upload(file));
    $("upload-label").firstChild.textContent = "Upload";
    if (!sent) continue;
    state.images.push(sent);
    await attempt(() => openImage(sent.key));
  }
  $("upload").value = "";
}

export function confirmRemoval() {
  $("ask-words").textContent = `Remove ${state.image.name} and its cells from the server?`;
  $("ask").returnValue = "";
  $("ask").showModal();
}

export async function removeImage() {
  if ($("ask").returnValue !== "yes" || !state.image) return;
  $("ask").returnValue = ""; // an answer counts once, however late an earlier dialog reports its end
  const { key } = state.image;
  viewer.close(); // first, so that nothing more is asked of it
  state.image = null;
  if (!(await attempt(() => api.change(`/api/images/${key}/remove`)))) {
    await attempt(() => openImage(key));
    return;
  }
  state.images = state.images.filter((image) => image.key !== key);
  store.clear();
  if (state.images.length) await attempt(() => openImage(state.images[0].key));
  else showCells();
  listImages();
}
