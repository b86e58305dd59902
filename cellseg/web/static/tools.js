// Tools that draw on the image. Each ends in one call with points in pixels of the image.

import { Gestures } from "./gestures.js";

const ICONS = {
  hand: "M8 13V5.5a1.5 1.5 0 0 1 3 0V11m0-1V4.5a1.5 1.5 0 0 1 3 0V11m0-5a1.5 1.5 0 0 1 3 0v6m0-3.500a1.500 1.500 0 0 1 3 0V15a6 6 0 0 1-6 6h-1.500a6 6 0 0 1-4.800-2.400L5 14.500a1.500 1.500 0 0 1 2.300-1.900L8 13.500",
  polygon: "M5 9l7-5 7 6-3 9H8z",
  freehand: "M4 17c2-9 6-12 9-9s-3 6 0 7 5-5 7-7",
  redraw: "M4 12a8 8 0 1 1 3 6M4 12l-1-4m1 4l4-1",
  brush: "M20 4L10 14m0 0c-3 0-3 2-4 5 3 0 6 0 6-3z",
  erase: "M8 19h12M5 14l8-9 6 5-8 9H8z",
  split: "M4 20L20 4M8 5a4 4 0 0 0-3 3m11 11a4 4 0 0 0 3-3",
  review: "M4 5h16v14H4zM8 12l3 3 5-6",
  region: "M4 8V4h4m8 0h4v4m0 8v4h-4m-8 0H4v-4M9 12h6m-3-3v6",
};

export const TOOLS = [
  { name: "hand", key: "V", words: "Move and select" },
  { name: "polygon", key: "P", words: "Draw a cell by points" },
  { name: "freehand", key: "F", words: "Draw a cell freehand" },
  { name: "redraw", key: "W", words: "Redraw the selected cell" },
  { name: "brush", key: "B", words: "Brush: add to the selected cell, or draw one" },
  { name: "erase", key: "E", words: "Erase from the selected cell" },
  { name: "split", key: "S", words: "Split cells along a line" },
  { name: "review", key: "R", words: "Mark a region as reviewed: drag, or click its corners" },
  { name: "region", key: "D", words: "Find cells in a region: drag, or click its corners" },
];

const REGIONS = new Set(["review", "region"]); // a drag is a rectangle; clicks set a polygon's corners
const CLICK_PX = 4; // on the screen; what is dragged less far is a click
const STROKES = new Set(["freehand", "redraw", "brush", "erase", "split"]);

export class Tools {
  constructor(bar, canvas, viewer) {
    Object.assign(this, { canvas, viewer });
    this.onDone = null; // called with the tool's name and its points
    this.context = canvas.getContext("2d");
    this.gestures = new Gestures(canvas, viewer);
    this.name = "hand";
    this.points = [];
    this.isPath = false; // whether the corners of a region are clicked one by one
    this.radius = 8;
    this.mouse = null;
    this.buttons = new Map();
    for (const tool of TOOLS) bar.append(this.makeButton(tool));
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    canvas.addEventListener("pointerup", (event) => this.release(event));
    canvas.addEventListener("pointercancel", (event) => {
      this.gestures.release(event);
      this.cancel();
    });
    canvas.addEventListener("pointerleave", () => {
      this.mouse = null;
      this.draw();
    });
    canvas.addEventListener("dblclick", () => this.finish());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      viewer.zoom(event.deltaY < 0 ? 1.25 : 0.8, event);
    }, { passive: false });
    this.choose("hand");
  }

  makeButton(tool) {
    const button = document.createElement("button");
    button.type = "button";
    button.title = `${tool.words} (${tool.key})`;
    button.setAttribute("aria-label", tool.words);
    button.dataset.tool = tool.name;
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", ICONS[tool.name]);
    svg.append(path);
    const key = document.createElement("small");
    key.textContent = tool.key;
    button.append(svg, key);
    button.addEventListener("click", () => this.choose(tool.name));
    this.buttons.set(tool.name, button);
    return button;
  }

  choose(name) {
    this.name = name;
    this.cancel();
    for (const [other, button] of this.buttons) {
      button.setAttribute("aria-pressed", String(other === name));
    }
    this.canvas.classList.toggle("idle", name === "hand");
    this.onChoose?.(name);
  }

  press(event) {
    if (this.gestures.press(event)) {
      if (this.gestures.hasBegun) this.takeBack();
      return;
    }
    const point = this.viewer.toImage(event);
    if (!point) return;
    if (this.setsPoints()) {
      this.addPoint(point);
    } else {
      this.canvas.setPointerCapture(event.pointerId);
      this.isDown = true;
      this.points = [point];
    }
    this.draw();
  }

  drag(event) {
    if (this.gestures.drag(event)) return;
    const point = this.viewer.toImage(event);
    this.mouse = point;
    if (this.isDown && point) {
      if (REGIONS.has(this.name)) {
        this.points = [this.points[0], point];
      } else {
        const [x, y] = this.points[this.points.length - 1];
        const { scale } = this.viewer.view();
        const isFar = Math.hypot(point[0] - x, point[1] - y) * scale > 1.5;
        if (isFar && this.points.length < 15000) this.points.push(point);
      }
    }
    this.draw();
  }

  release(event) {
    if (this.gestures.release(event) || !this.isDown) return;
    this.isDown = false;
    this.drag(event);
    if (REGIONS.has(this.name) && this.isClick()) {
      this.isPath = true;
      this.points.length = 1;
      this.draw();
    } else {
      this.finish();
    }
  }

  setsPoints() {
    return this.name === "polygon" || this.isPath;
  }

  isClick() {
    const [[x1, y1], [x2, y2] = [x1, y1]] = this.points;
    return Math.hypot(x2 - x1, y2 - y1) * this.viewer.view().scale < CLICK_PX;
  }

  // What the first of two fingers began to draw was the start of a gesture.
  takeBack() {
    if (this.setsPoints()) this.dropPoint();
    else this.cancel();
  }

  // Set a point under the cross in the middle, for readers without a mouse.
  setAtCross() {
    const view = this.viewer.view();
    if (!view || this.name === "hand") return;
    this.addPoint([view.x + view.width / 2, view.y + view.height / 2]);
    if (REGIONS.has(this.name) && !this.isPath && this.points.length === 2) this.finish();
  }

  addPoint(point) {
    const last = this.points[this.points.length - 1];
    if (!last || Math.hypot(point[0] - last[0], point[1] - last[1]) > 1e-6) this.points.push(point);
    this.draw();
  }

  dropPoint() {
    this.points.pop();
    if (!this.points.length) this.isPath = false;
    this.draw();
  }

  finish() {
    const { name, isPath } = this;
    let { points } = this;
    this.cancel();
    if (!points.length) return;
    if (REGIONS.has(name) && !isPath) {
      if (points.length < 2) return;
      const [[x1, y1], [x2, y2]] = points;
      points = [[x1, y1], [x2, y1], [x2, y2], [x1, y2]];
    }
    const least = name === "brush" || name === "erase" ? 1 : name === "split" ? 2 : 3;
    if (points.length < least) return;
    this.onDone(name, points.map(([x, y]) => [round(x), round(y)]));
  }

  cancel() {
    this.points = [];
    this.isPath = false;
    this.isDown = false;
    this.draw();
  }

  draw() {
    const { canvas, context } = this;
    const box = canvas.getBoundingClientRect();
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const [width, height] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, box.width, box.height);
    const view = this.viewer.view();
    if (!view || (this.name === "hand" && !this.points.length)) return;
    const places = this.points.map(([x, y]) => this.viewer.toScreen(x, y));
    const brush = this.name === "brush" || this.name === "erase";
    if (brush) {
      context.lineCap = context.lineJoin = "round";
      context.strokeStyle = this.name === "erase" ? "rgba(220,0,0,.45)" : "rgba(255,0,200,.45)";
      context.lineWidth = Math.max(this.radius * 2 * view.scale, 1);
      trace(context, places);
      if (this.mouse) {
        const [x, y] = this.viewer.toScreen(...this.mouse);
        context.beginPath();
        context.arc(x, y, this.radius * view.scale, 0, 7);
        context.lineWidth = 1.5;
        context.strokeStyle = "#e000b0";
        context.stroke();
      }
      return;
    }
    const line = [...places];
    if (this.setsPoints() && this.mouse && line.length) {
      line.push(this.viewer.toScreen(...this.mouse));
    }
    for (const [color, thick] of [["#fff", 4], ["#e000b0", 2]]) {
      context.strokeStyle = color;
      context.lineWidth = thick;
      if (REGIONS.has(this.name) && !this.isPath) {
        if (places.length < 2) continue;
        const [[x1, y1], [x2, y2]] = places;
        context.strokeRect(x1, y1, x2 - x1, y2 - y1);
      } else {
        trace(context, line, STROKES.has(this.name) === false && line.length > 2);
      }
    }
    context.fillStyle = "#e000b0";
    if (this.setsPoints() || !this.isDown) {
      for (const [x, y] of places) context.fillRect(x - 3, y - 3, 6, 6);
    }
  }
}

function trace(context, places, isClosed = false) {
  if (!places.length) return;
  context.beginPath();
  places.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  if (places.length === 1) context.lineTo(places[0][0] + 0.1, places[0][1]);
  if (isClosed) context.closePath();
  context.stroke();
}

const round = (value) => Math.round(value * 100) / 100;
