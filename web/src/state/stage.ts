// Zoom and pan of the open photo, and what only the stage shows: a box or a stroke being drawn.

import { signal } from "@preact/signals";
import type { Point, Size } from "../core/frames";
import type { Stroke } from "../core/strokes";
import { fitView, panBy, toPhoto, type View, zoomAt } from "../core/view";

/** Room for what lies over the stage's lower edge. */
const DOCK = 104;

export class StageState {
  readonly size = signal<Size>({ width: 1, height: 1 });
  readonly view = signal<View>({ zoom: 1, x: 0, y: 0 });
  /** Corners of the box being dragged, pixels of the photo. */
  readonly dragged = signal<{ from: Point; to: Point } | null>(null);
  readonly stroke = signal<Stroke | null>(null);
  /** Where the pointer is, pixels of the stage; null when it is elsewhere. */
  readonly pointer = signal<Point | null>(null);
  readonly isPanning = signal(false);
  private isFitted = true;

  constructor(readonly photo: Size) {}

  resize(size: Size): void {
    const before = this.size.value;
    this.size.value = size;
    if (this.isFitted) this.fit();
    else this.pan((size.width - before.width) / 2, (size.height - before.height) / 2);
  }

  fit(): void {
    this.isFitted = true;
    this.view.value = fitView(this.photo, this.size.value, DOCK);
  }

  /** One photo pixel on one pixel of the screen. */
  actual(): void {
    this.zoom(1 / devicePixelRatio / this.view.value.zoom);
  }

  zoom(factor: number, at?: Point): void {
    const { width, height } = this.size.value;
    this.isFitted = false;
    this.view.value = zoomAt(
      this.view.value,
      factor,
      at ?? { x: width / 2, y: height / 2 },
      this.photo,
      this.size.value,
    );
  }

  pan(dx: number, dy: number): void {
    this.isFitted = false;
    this.view.value = panBy(this.view.value, dx, dy, this.photo, this.size.value);
  }

  toPhoto(stage: Point): Point {
    return toPhoto(this.view.value, stage);
  }

  /** Whether a point of the stage lies on the photo. */
  isOnPhoto(stage: Point): boolean {
    const { x, y } = this.toPhoto(stage);
    return x >= 0 && y >= 0 && x <= this.photo.width && y <= this.photo.height;
  }
}
