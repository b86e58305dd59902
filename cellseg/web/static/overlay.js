// Draw the cells over the image. They are drawn into a canvas larger than the view, in slices of a
// few milliseconds; moving the view then only moves that canvas, and a frame stays short.

const MARGIN = 0.35; // of the view, on each side
const SLICE_MS = 7;
const BATCH = 60; // outlines per path; long paths take far more than their share

export class Overlay {
  constructor(canvas, store, getView) {
    Object.assign(this, { canvas, store, getView });
    this.context = canvas.getContext("2d");
    this.front = this.makeLayer();
    this.back = this.makeLayer();
    this.colors = [];
    this.mode = "outlines";
    this.selection = new Set();
    this.regions = [];
    this.work = null;
    this.stale = true;
  }

  makeLayer() {
    const canvas = document.createElement("canvas");
    return { canvas, context: canvas.getContext("2d"), view: null };
  }

  resize() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const { width, height } = this.canvas.getBoundingClientRect();
    this.ratio = ratio;
    this.canvas.width = Math.max(Math.round(width * ratio), 1);
    this.canvas.height = Math.max(Math.round(height * ratio), 1);
    this.stale = true;
  }

  // Say that cells, colors or the mode have changed.
  refresh() {
    this.stale = true;
    this.draw();
  }

  draw() {
    const view = this.getView();
    if (!view) return;
    const { canvas, context } = this;
    if (this.needsWork(view)) this.begin(view);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    const drawn = this.front.view;
    if (!drawn) return;
    const grow = view.scale / drawn.scale;
    const x = (drawn.x - view.x) * view.scale * this.ratio;
    const y = (drawn.y - view.y) * view.scale * this.ratio;
    const { width, height } = this.front.canvas;
    context.drawImage(this.front.canvas, x, y, width * grow, height * grow);
  }

  needsWork(view) {
    const aim = this.work ? this.work.view : this.front.view;
    if (this.stale || !aim) return true;
    if (aim.scale !== view.scale) return !this.work || Math.abs(aim.scale / view.scale - 1) > 0.3;
    const shiftX = Math.abs(aim.centerX - view.x - view.width / 2) / view.width;
    const shiftY = Math.abs(aim.centerY - view.y - view.height / 2) / view.height;
    return Math.max(shiftX, shiftY) > MARGIN * 0.6;
  }

  // Begin to draw what surrounds the view; the old drawing stays until the new one is whole.
  begin(view) {
    this.stale = false;
    const extent = {
      scale: view.scale,
      x: view.x - view.width * MARGIN,
      y: view.y - view.height * MARGIN,
      width: view.width * (1 + 2 * MARGIN),
      height: view.height * (1 + 2 * MARGIN),
      centerX: view.x + view.width / 2,
      centerY: view.y + view.height / 2,
    };
    const layer = this.back;
    layer.canvas.width = Math.round(extent.width * view.scale * this.ratio);
    layer.canvas.height = Math.round(extent.height * view.scale * this.ratio);
    layer.view = extent;
    const scale = view.scale * this.ratio;
    layer.context.setTransform(scale, 0, 0, scale, -extent.x * scale, -extent.y * scale);
    const cells = this.mode === "none" ? [] : this.list(extent);
    this.work = { view: extent, cells, place: 0, scale };
    this.go();
  }

  list(extent) {
    const { x, y, width, height } = extent;
    const cells = this.store.within(x, y, x + width, y + height);
    for (const cell of this.store.found) {
      const meets = cell.x2 >= x && cell.x1 <= x + width && cell.y2 >= y && cell.y1 <= y + height;
      if (meets && this.store.isShown(cell)) cells.push(cell);
    }
    return cells.sort((one, two) => one.label - two.label);
  }

  // Draw for a few milliseconds, then let the page answer.
  go() {
    const { work } = this;
    if (!work) return;
    const until = performance.now() + SLICE_MS;
    while (work.place < work.cells.length) {
      this.drawBatch(work);
      if (performance.now() > until) {
        if (!work.waits) {
          work.waits = true;
          requestAnimationFrame(() => {
            work.waits = false;
            if (this.work === work) this.go();
          });
        }
        return;
      }
    }
    this.work = null;
    this.drawMarks(this.back.context, work);
    [this.front, this.back] = [this.back, this.front];
    requestAnimationFrame(() => this.draw());
  }

  drawBatch(work) {
    const { context } = this.back;
    const { cells, scale } = work;
    const { label } = cells[work.place];
    const level = scale >= 4 ? 0 : scale >= 0.6 ? 1 : 2;
    const color = this.colors[label] || "rgb(128,128,128)";
    context.beginPath();
    let count = 0;
    while (work.place < cells.length && count < BATCH && cells[work.place].label === label) {
      const cell = cells[work.place++];
      count++;
      if ((cell.x2 - cell.x1) * scale < 3) {
        context.rect(cell.x1, cell.y1, cell.x2 - cell.x1, cell.y2 - cell.y1);
      } else {
        traceRings(context, cell.outline(level));
      }
    }
    if (this.mode === "filled") {
      context.fillStyle = color;
      context.globalAlpha = 0.45;
      context.fill("evenodd");
      context.globalAlpha = 1;
    }
    context.strokeStyle = color;
    context.lineWidth = (scale > 0.5 ? 1.6 : 1) * this.ratio / scale;
    context.stroke();
  }

  // Selected cells and reviewed regions.
  drawMarks(context, work) {
    const width = this.ratio / work.scale;
    for (const region of this.regions) {
      context.beginPath();
      region.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
      context.closePath();
      context.setLineDash([8 * width, 5 * width]);
      for (const [color, thick] of [["#fff", 4], ["#0a7d3f", 2]]) {
        context.strokeStyle = color;
        context.lineWidth = thick * width;
        context.stroke();
      }
      context.setLineDash([]);
    }
    for (const key of this.selection) {
      const cell = this.store.byKey.get(key);
      if (!cell) continue;
      context.beginPath();
      traceRings(context, cell.outline(work.scale >= 4 ? 0 : 1));
      context.fillStyle = "rgba(255, 0, 200, 0.22)";
      context.fill("evenodd");
      for (const [color, thick] of [["#fff", 5], ["#e000b0", 2.5]]) {
        context.strokeStyle = color;
        context.lineWidth = thick * width;
        context.stroke();
      }
    }
  }
}

export function traceRings(context, rings) {
  for (const ring of rings) {
    context.moveTo(ring[0], ring[1]);
    for (let i = 2; i < ring.length; i += 2) context.lineTo(ring[i], ring[i + 1]);
    context.closePath();
  }
}
