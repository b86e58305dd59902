// What all parts of the page share: the state, the viewer, and words for the reader.

import * as api from "./api.js";
import { CellStore } from "./cells.js";
import { loadState, openImage } from "./images.js";
import { Overlay } from "./overlay.js";
import { Tools } from "./tools.js";
import { Viewer } from "./viewer.js";

export const $ = (id) => document.getElementById(id);
const RETRY_MS = 2000;

export const state = { info: null, images: [], image: null, log: null, selection: new Set() };
export const store = new CellStore();
export const viewer = new Viewer($("viewer"), $("twin"));

function addCanvas(name) {
  const canvas = document.createElement("canvas");
  canvas.className = name;
  $("viewer").append(canvas);
  return canvas;
}

export const overlay = new Overlay(addCanvas("cells-canvas"), store, () => viewer.view());
export const tools = new Tools($("tools"), addCanvas("draw-canvas"), viewer);
overlay.selection = state.selection;

export function say(words) {
  $("notice").hidden = !words;
  $("notice").querySelector("span").textContent = words || "";
}

export async function attempt(call) {
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

export const isAway = () => isWaiting;

export async function waitForServer() {
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
