// Counts, histogram, scale bar and other numbers beside the image.

const NUMBER = new Intl.NumberFormat("en-US");

export const format = (value, digits = 0) =>
  value.toLocaleString("en-US", { maximumFractionDigits: digits });

export function describeArea(area, um) {
  return um ? `${format(area * um * um, 1)} \u00b5m\u00b2` : `${format(area)} px`;
}

export function drawCounts(table, classes, colors, cells, filter, onToggle) {
  const counts = classes.map(() => 0);
  for (const cell of cells) counts[cell.label]++;
  const body = table.querySelector("tbody");
  if (body.children.length !== classes.length) {
    body.replaceChildren(
      ...classes.map((name, label) => {
        const row = document.createElement("tr");
        const first = document.createElement("td");
        const words = document.createElement("label");
        const box = document.createElement("input");
        box.type = "checkbox";
        box.checked = !filter.hidden.has(label);
        box.addEventListener("change", () => onToggle(label, box.checked));
        const swatch = document.createElement("span");
        swatch.className = "swatch";
        swatch.style.background = colors[label];
        words.append(box, swatch, document.createTextNode(name));
        first.append(words);
        row.append(first, document.createElement("td"));
        return row;
      }),
    );
  }
  counts.forEach((count, label) => {
    body.children[label].children[1].textContent = NUMBER.format(count);
  });
  const foot = document.createElement("tr");
  for (const text of ["Shown", NUMBER.format(cells.length)]) {
    const field = document.createElement("td");
    field.textContent = text;
    foot.append(field);
  }
  table.querySelector("tfoot").replaceChildren(foot);
}

export function drawHistogram(canvas, note, cells, image) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const box = canvas.getBoundingClientRect();
  canvas.width = Math.max(box.width * ratio, 10);
  canvas.height = 70 * ratio;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (!cells.length || !image) {
    note.textContent = "";
    canvas.setAttribute("aria-label", "Histogram of cell areas: no cells");
    return;
  }
  const factor = image.um ? image.um * image.um : 1;
  const unit = image.um ? "\u00b5m\u00b2" : "px";
  const sizes = cells.map((cell) => cell.area * factor).sort((a, b) => a - b);
  const last = sizes[Math.min(Math.floor(sizes.length * 0.99), sizes.length - 1)] || 1;
  const bins = new Array(32).fill(0);
  for (const size of sizes) bins[Math.min(Math.floor((size / last) * 32), 31)]++;
  const most = Math.max(...bins);
  const style = getComputedStyle(document.documentElement);
  const floor = canvas.height - 14 * ratio;
  context.fillStyle = style.getPropertyValue("--main");
  bins.forEach((count, i) => {
    const height = (count / most) * (floor - 2);
    const width = canvas.width / 32;
    context.fillRect(i * width, floor - height, width - ratio, height);
  });
  context.fillStyle = style.getPropertyValue("--soft");
  context.font = `${11 * ratio}px system-ui, sans-serif`;
  context.fillText("0", 0, canvas.height - 2);
  context.textAlign = "right";
  context.fillText(`${format(last, last < 10 ? 1 : 0)} ${unit}`, canvas.width, canvas.height - 2);
  const median = sizes[Math.floor(sizes.length / 2)];
  note.textContent = `Median area ${format(median, median < 10 ? 1 : 0)} ${unit}.`;
  canvas.setAttribute("aria-label", `Histogram of cell areas. ${note.textContent}`);
}

// Cells whose middle is in view, and how dense they lie in the part of the image that is.
export function describeView(store, view, image) {
  if (!view || !image) return "";
  const [x1, y1] = [Math.max(view.x, 0), Math.max(view.y, 0)];
  const x2 = Math.min(view.x + view.width, image.width);
  const y2 = Math.min(view.y + view.height, image.height);
  const pixels = Math.max(x2 - x1, 0) * Math.max(y2 - y1, 0);
  if (!pixels) return "";
  let count = 0;
  for (const cell of store.within(x1, y1, x2, y2)) {
    const [x, y] = [(cell.x1 + cell.x2) / 2, (cell.y1 + cell.y2) / 2];
    if (x >= x1 && x < x2 && y >= y1 && y < y2) count++;
  }
  const density = image.um
    ? `${format((count / (pixels * image.um ** 2)) * 1e6)} per mm\u00b2`
    : `${format((count / pixels) * 1e6, 1)} per megapixel`;
  return `In view: ${format(count)} ${count === 1 ? "cell" : "cells"}, ${density}.`;
}

export function drawScaleBar(element, view, um) {
  element.classList.toggle("on", Boolean(view));
  if (!view) return;
  const perUnit = um ? view.scale / um : view.scale; // screen pixels per micrometer or pixel
  let length = 10 ** Math.floor(Math.log10(110 / perUnit));
  for (const step of [5, 2]) {
    if (length * step * perUnit <= 110) {
      length *= step;
      break;
    }
  }
  if (!um && length < 1) length = 1;
  const words = um
    ? length >= 1000 ? `${length / 1000} mm` : `${format(length, 3)} \u00b5m`
    : `${format(length)} px`;
  element.querySelector("span").textContent = words;
  element.querySelector("i").style.width = `${Math.round(length * perUnit)}px`;
}
