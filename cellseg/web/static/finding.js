// Find cells: start a prediction, show its cells as they come, and its result.

import * as api from "./api.js";
import { Cell } from "./cells.js";
import { loadCells } from "./images.js";
import { $, attempt, overlay, say, state, store, waitForServer } from "./page.js";
import * as panel from "./panel.js";

const POLL_MS = 400;

export async function predict(points) {
  if (!state.image) return;
  say("");
  const scale = $("scale").value === "" ? null : Number($("scale").value);
  const { key } = state.image;
  const model = $("model").value;
  if (await attempt(() => api.change(`/api/images/${key}/predict`, { points, scale, model }))) watchJob(true);
}

let watch = 0;

export async function watchJob(isNew = false) {
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
  if (job.total > 1) {
    progress.max = job.total;
    progress.value = job.done;
  } else {
    progress.removeAttribute("value");
  }
  let words = job.words || "Starting\u2026";
  if (job.state === "waiting") words = `Waiting for ${job.ahead} other ${job.ahead === 1 ? "image" : "images"}`;
  else if (job.total > 1) words = `${job.done} of ${job.total} tiles, ${panel.format(job.count)} cells`;
  else if (job.total) words = "Finding cells\u2026";
  if (job.left_s !== null) words += `, about ${describeTime(job.left_s)} left`;
  $("job-words").textContent = words;
}

const describeTime = (seconds) =>
  seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;
