// Moving the image while a tool draws: a drag with the middle or right button, or two fingers.

export class Gestures {
  constructor(canvas, viewer) {
    Object.assign(this, { canvas, viewer });
    this.places = new Map(); // of the pressed button or the fingers, by pointer
    this.isMoving = false;
    this.hasBegun = false; // true while the second finger is put down
  }

  // Each of these returns whether the event belongs to a gesture, so that no tool takes it.
  press(event) {
    const isFinger = event.pointerType === "touch";
    if (!isFinger && event.button !== 1 && event.button !== 2) return false;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.places.set(event.pointerId, [event.clientX, event.clientY]);
    this.hasBegun = !this.isMoving && isFinger && this.places.size > 1;
    this.isMoving ||= !isFinger || this.hasBegun;
    return this.isMoving;
  }

  drag(event) {
    if (!this.places.has(event.pointerId)) return false;
    const before = this.measure();
    this.places.set(event.pointerId, [event.clientX, event.clientY]);
    if (!this.isMoving) return false;
    const after = this.measure();
    const box = this.canvas.getBoundingClientRect();
    this.viewer.move((before.x - after.x) / box.width, (before.y - after.y) / box.height);
    if (before.spread > 0 && after.spread > 0) {
      this.viewer.zoom(after.spread / before.spread, { clientX: after.x, clientY: after.y });
    }
    return true;
  }

  // A gesture lasts until the last finger is lifted: one that stays must not begin to draw.
  release(event) {
    const wasMoving = this.isMoving;
    this.places.delete(event.pointerId);
    if (!this.places.size) this.isMoving = false;
    return wasMoving;
  }

  // The middle of the pointers, and how far the first two are apart.
  measure() {
    const [first, second = first] = [...this.places.values()];
    return {
      x: (first[0] + second[0]) / 2,
      y: (first[1] + second[1]) / 2,
      spread: Math.hypot(first[0] - second[0], first[1] - second[1]),
    };
  }
}
