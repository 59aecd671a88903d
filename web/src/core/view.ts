// Zoom and pan: how the photo lies on the stage. Everything in CSS pixels; the renderer adds the device's pixel ratio.

import type { Point, Size } from "./frames";

export interface View {
  /** CSS pixels per photo pixel. */
  readonly zoom: number;
  /** The photo's corner on the stage. */
  readonly x: number;
  readonly y: number;
}

export const MAX_ZOOM = 64;
const MARGIN = 24;

/** The whole photo in the middle of the stage, above `below` pixels that are kept free at the bottom. */
export function fitView(photo: Size, stage: Size, below = 0): View {
  const height = Math.max(1, stage.height - Math.min(below, stage.height / 3));
  const room = { width: Math.max(1, stage.width - 2 * MARGIN), height: Math.max(1, height - 2 * MARGIN) };
  const zoom = Math.min(room.width / photo.width, room.height / photo.height, MAX_ZOOM / 8);
  return { zoom, x: (stage.width - photo.width * zoom) / 2, y: (height - photo.height * zoom) / 2 };
}

export function toPhoto(view: View, stage: Point): Point {
  return { x: (stage.x - view.x) / view.zoom, y: (stage.y - view.y) / view.zoom };
}

export function toStage(view: View, photo: Point): Point {
  return { x: photo.x * view.zoom + view.x, y: photo.y * view.zoom + view.y };
}

/** Keep at least a corner of the photo on the stage. */
export function held(view: View, photo: Size, stage: Size): View {
  const keep = Math.min(80, stage.width / 4, stage.height / 4);
  const clamp = (value: number, low: number, high: number) => Math.min(Math.max(value, low), high);
  return {
    zoom: view.zoom,
    x: clamp(view.x, keep - photo.width * view.zoom, stage.width - keep),
    y: clamp(view.y, keep - photo.height * view.zoom, stage.height - keep),
  };
}

/** Zoom by a factor, the photo's point under `at` staying where it is. */
export function zoomAt(view: View, factor: number, at: Point, photo: Size, stage: Size): View {
  const smallest = Math.min(fitView(photo, stage).zoom / 4, 1);
  const zoom = Math.min(Math.max(view.zoom * factor, smallest), MAX_ZOOM);
  const scale = zoom / view.zoom;
  return held({ zoom, x: at.x - (at.x - view.x) * scale, y: at.y - (at.y - view.y) * scale }, photo, stage);
}

export function panBy(view: View, dx: number, dy: number, photo: Size, stage: Size): View {
  return held({ ...view, x: view.x + dx, y: view.y + dy }, photo, stage);
}

/** The point inside the photo, edges included. */
export function insidePhoto(point: Point, photo: Size): Point {
  return {
    x: Math.min(Math.max(point.x, 0), photo.width),
    y: Math.min(Math.max(point.y, 0), photo.height),
  };
}
