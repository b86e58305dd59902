// The cells of the image: outlines at three levels of detail, and a grid to find them by place.

const BLOCK = 256; // pixels of the image per side of a block of the grid

// Corners of a ring [x0, y0, d1, d2, ...] that turns at every corner, first along x.
function decodeRing(ring) {
  const count = ring.length - 1;
  const points = new Float32Array(count * 2);
  let x = ring[0];
  let y = ring[1];
  for (let corner = 0; corner < count; corner++) {
    points[corner * 2] = x;
    points[corner * 2 + 1] = y;
    if (corner % 2 === 0) x += ring[corner + 2];
    else y += ring[corner + 2];
  }
  return points;
}

const SHORT = 2; // an edge up to this many pixels is a step of a slanted outline

// Cut the corners: a smoother line than the edges of the pixels. Steps become their middles, while
// long edges stay up to a pixel from their ends.
function cutCorners(points) {
  const cut = [];
  const count = points.length / 2;
  for (let i = 0; i < count; i++) {
    const j = (i + 1) % count;
    const [x1, y1, x2, y2] = [points[i * 2], points[i * 2 + 1], points[j * 2], points[j * 2 + 1]];
    const length = Math.abs(x2 - x1) + Math.abs(y2 - y1); // edges run along x or y
    const part = length > SHORT ? 1 / length : 0.5;
    cut.push(x1 + (x2 - x1) * part, y1 + (y2 - y1) * part);
    if (length > SHORT) cut.push(x2 - (x2 - x1) * part, y2 - (y2 - y1) * part);
  }
  return new Float32Array(cut);
}

// Douglas and Peucker's simplification of a closed ring.
export function simplify(points, tolerance) {
  const count = points.length / 2;
  if (count < 8) return points;
  const keep = new Uint8Array(count);
  const half = count >> 1;
  keep[0] = keep[half] = 1;
  const stack = [[0, half], [half, count]];
  while (stack.length) {
    const [from, to] = stack.pop();
    const ax = points[from * 2];
    const ay = points[from * 2 + 1];
    const bx = points[(to % count) * 2];
    const by = points[(to % count) * 2 + 1];
    const length = Math.hypot(bx - ax, by - ay) || 1;
    let farthest = 0;
    let place = -1;
    for (let i = from + 1; i < to; i++) {
      const px = points[i * 2] - ax;
      const py = points[i * 2 + 1] - ay;
      const distance = Math.abs(px * (by - ay) - py * (bx - ax)) / length;
      if (distance > farthest) {
        farthest = distance;
        place = i;
      }
    }
    if (farthest > tolerance) {
      keep[place] = 1;
      stack.push([from, place], [place, to]);
    }
  }
  const kept = [];
  for (let i = 0; i < count; i++) if (keep[i]) kept.push(points[i * 2], points[i * 2 + 1]);
  return kept.length >= 6 ? new Float32Array(kept) : points;
}

export class Cell {
  constructor(entry) {
    this.key = entry.k;
    this.label = entry.c;
    this.score = entry.s; // null: drawn or corrected by hand
    this.area = entry.a;
    this.rings = entry.r.map(decodeRing);
    this.levels = [this.rings, null, null];
    let [x1, y1, x2, y2] = [Infinity, Infinity, -Infinity, -Infinity];
    for (const ring of this.rings) {
      for (let i = 0; i < ring.length; i += 2) {
        if (ring[i] < x1) x1 = ring[i];
        if (ring[i] > x2) x2 = ring[i];
        if (ring[i + 1] < y1) y1 = ring[i + 1];
        if (ring[i + 1] > y2) y2 = ring[i + 1];
      }
    }
    Object.assign(this, { x1, y1, x2, y2 });
  }

  // Level 0 is exact, 1 is smooth, 2 is coarse.
  outline(level) {
    if (this.levels[level] === null) {
      const tolerance = level === 1 ? 0.4 : 1.5;
      this.levels[level] = this.rings.map((ring) => simplify(cutCorners(ring), tolerance));
    }
    return this.levels[level];
  }

  contains(x, y) {
    if (x < this.x1 || x > this.x2 || y < this.y1 || y > this.y2) return false;
    let inside = false;
    for (const ring of this.rings) {
      let px = ring[ring.length - 2];
      let py = ring[ring.length - 1];
      for (let i = 0; i < ring.length; i += 2) {
        const [cx, cy] = [ring[i], ring[i + 1]];
        if (py > y !== cy > y && x < ((cx - px) * (y - py)) / (cy - py) + px) inside = !inside;
        [px, py] = [cx, cy];
      }
    }
    return inside;
  }
}

export class CellStore {
  constructor() {
    this.clear();
    this.filter = { score: 0.5, least: 0, most: Infinity, hidden: new Set() };
  }

  clear() {
    this.byKey = new Map();
    this.grid = new Map();
    this.found = []; // cells of a prediction that is under way
    this.largest = 0;
  }

  add(entry) {
    const cell = new Cell(entry);
    this.byKey.set(cell.key, cell);
    this.forBlocks(cell, (name) => {
      const block = this.grid.get(name);
      if (block) block.push(cell);
      else this.grid.set(name, [cell]);
    });
  }

  remove(key) {
    const cell = this.byKey.get(key);
    if (!cell) return;
    this.byKey.delete(key);
    this.forBlocks(cell, (name) => {
      const block = this.grid.get(name);
      block.splice(block.indexOf(cell), 1);
    });
  }

  // A cell lies in the block of its center; larger ones are found by a margin.
  forBlocks(cell, call) {
    this.largest = Math.max(this.largest, cell.x2 - cell.x1, cell.y2 - cell.y1);
    const x = Math.floor((cell.x1 + cell.x2) / 2 / BLOCK);
    const y = Math.floor((cell.y1 + cell.y2) / 2 / BLOCK);
    call(y * 65536 + x);
  }

  isShown(cell) {
    const { score, least, most, hidden } = this.filter;
    return (
      (cell.score === null || cell.score >= score) &&
      cell.area >= least &&
      cell.area <= most &&
      !hidden.has(cell.label)
    );
  }

  shown() {
    const list = [];
    for (const cell of this.byKey.values()) if (this.isShown(cell)) list.push(cell);
    return list;
  }

  // Shown cells whose box meets a box of the image.
  within(x1, y1, x2, y2) {
    const margin = this.largest / 2 + 1;
    const left = Math.floor((x1 - margin) / BLOCK);
    const right = Math.floor((x2 + margin) / BLOCK);
    const top = Math.floor((y1 - margin) / BLOCK);
    const bottom = Math.floor((y2 + margin) / BLOCK);
    const list = [];
    const take = (cell) => {
      if (cell.x2 >= x1 && cell.x1 <= x2 && cell.y2 >= y1 && cell.y1 <= y2 && this.isShown(cell)) {
        list.push(cell);
      }
    };
    if ((right - left + 1) * (bottom - top + 1) > this.grid.size) {
      for (const block of this.grid.values()) block.forEach(take);
    } else {
      for (let y = top; y <= bottom; y++) {
        for (let x = left; x <= right; x++) this.grid.get(y * 65536 + x)?.forEach(take);
      }
    }
    return list;
  }

  at(x, y) {
    const hits = this.within(x, y, x, y).filter((cell) => cell.contains(x, y));
    hits.sort((one, two) => one.area - two.area);
    return hits[0] || null;
  }
}
