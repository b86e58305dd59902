// The image: OpenSeadragon shows its tiles; positions are pixels of the image.

/* global OpenSeadragon */

const OPTIONS = {
  drawer: "canvas",
  animationTime: 0.25,
  springStiffness: 12,
  showNavigationControl: false,
  gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: false },
  gestureSettingsTouch: { dblTapToZoom: false },
  gestureSettingsPen: { clickToZoom: false },
  keyboardNavEnabled: false,
  maxZoomPixelRatio: 40,
  minZoomImageRatio: 0.6,
  visibilityRatio: 0.2,
  imageLoaderLimit: 6,
  maxImageCacheCount: 300,
  timeout: 120000,
  preserveImageSizeOnResize: true,
  showNavigator: false,
};

export class Viewer {
  constructor(element, twin) {
    this.element = element;
    this.twinElement = twin;
    this.image = null;
    this.main = OpenSeadragon({ element, ...OPTIONS });
    this.twin = null;
    this.listeners = [];
    this.main.addHandler("update-viewport", () => this.tell());
    this.main.addHandler("resize", () => this.tell());
    this.main.addHandler("tile-load-failed", (event) => this.onDamage?.(event));
    this.main.addHandler("animation", () => this.follow());
  }

  onView(call) {
    this.listeners.push(call);
  }

  tell() {
    this.follow();
    const smooth = (this.view()?.scale || 1) < 2;
    if (smooth !== this.smooth) {
      this.smooth = smooth;
      for (const viewer of [this.main, this.twin]) viewer?.drawer.setImageSmoothingEnabled(smooth);
    }
    this.listeners.forEach((call) => call());
  }

  open(image) {
    this.image = image;
    this.main.open(this.source());
    this.twin?.open(this.source());
  }

  close() {
    this.image = null;
    this.main.close();
    this.twin?.close();
  }

  source() {
    const { key, width, height, tile, highest } = this.image;
    return {
      width,
      height,
      tileSize: tile,
      tileOverlap: 0,
      minLevel: 0,
      maxLevel: highest,
      getTileUrl: (level, x, y) => `/api/images/${key}/tiles/${level}/${x}/${y}`,
    };
  }

  // What is in view: position and size in pixels of the image, and screen pixels per such pixel.
  view() {
    if (!this.image || !this.main.world.getItemCount()) return null;
    const bounds = this.main.viewport.getBounds(true);
    const { width } = this.image;
    const size = this.main.viewport.getContainerSize();
    return {
      x: bounds.x * width,
      y: bounds.y * width,
      width: bounds.width * width,
      height: bounds.height * width,
      scale: size.x / (bounds.width * width),
    };
  }

  toImage(event) {
    const box = this.element.getBoundingClientRect();
    const view = this.view();
    if (!view) return null;
    return [
      view.x + (event.clientX - box.left) / view.scale,
      view.y + (event.clientY - box.top) / view.scale,
    ];
  }

  toScreen(x, y) {
    const view = this.view();
    return [(x - view.x) * view.scale, (y - view.y) * view.scale];
  }

  move(dx, dy) {
    const bounds = this.main.viewport.getBounds();
    const step = new OpenSeadragon.Point(dx * bounds.width, dy * bounds.height);
    this.main.viewport.panBy(step);
    this.main.viewport.applyConstraints();
  }

  zoom(factor, event) {
    const point = event && this.main.viewport.pointFromPixel(this.pixelOf(event), true);
    this.main.viewport.zoomBy(factor, point);
    this.main.viewport.applyConstraints();
  }

  pixelOf(event) {
    const box = this.element.getBoundingClientRect();
    return new OpenSeadragon.Point(event.clientX - box.left, event.clientY - box.top);
  }

  home() {
    this.main.viewport.goHome();
  }

  // Show a place, at least so many screen pixels per pixel of the image.
  show(x, y, least = 0) {
    const { viewport } = this.main;
    const { width } = this.image;
    viewport.panTo(new OpenSeadragon.Point(x / width, y / width));
    const view = this.view();
    if (view.scale < least) viewport.zoomBy(least / view.scale);
  }

  fade(value) {
    for (const viewer of [this.main, this.twin]) {
      const item = viewer?.world.getItemAt(0);
      item?.setOpacity(value);
    }
  }

  split(isSplit) {
    this.twinElement.hidden = !isSplit;
    if (isSplit && !this.twin) {
      this.twin = OpenSeadragon({ element: this.twinElement, ...OPTIONS, mouseNavEnabled: false });
      this.twin.addHandler("open", () => this.follow());
      if (this.image) this.twin.open(this.source());
    } else if (!isSplit && this.twin) {
      this.twin.destroy();
      this.twin = null;
    }
  }

  follow() {
    if (!this.twin?.world.getItemCount() || !this.view()) return;
    this.twin.viewport.fitBounds(this.main.viewport.getBounds(true), true);
  }
}
