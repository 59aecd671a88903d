// The frames of a photo: original, resized, canvas, low-res. The page's only resize arithmetic, the same as
// Python's geometry/frames. Sizes are in pixels, points are x, y.

export interface Size {
  readonly width: number;
  readonly height: number;
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** x0, y0, x1, y1 in pixels. */
export type Box = readonly [number, number, number, number];

/** How one photo lies on a model's square canvas: scaled into the top left corner, zeros right and below. */
export interface Frame {
  readonly original: Size;
  readonly resized: Size;
  /** Side of the canvas. */
  readonly canvas: number;
  /** Side of the decoder's logits. */
  readonly lowRes: number;
}

/** Size of a photo whose longest side is brought to `canvas`; each side rounded half up, at least 1. */
export function longestSideSize(size: Size, canvas: number): Size {
  const { width, height } = size;
  if (!(Math.min(width, height, canvas) >= 1)) {
    throw new RangeError(
      `sizes must be at least one pixel; got ${width} x ${height} on a canvas of ${canvas}. Is the photo empty?`,
    );
  }
  const scale = canvas / Math.max(width, height);
  const side = (length: number) => Math.max(1, Math.floor(length * scale + 0.5));
  return { width: side(width), height: side(height) };
}

export function frameOf(original: Size, canvas: number, lowRes: number): Frame {
  return { original, resized: longestSideSize(original, canvas), canvas, lowRes };
}

/** Canvas pixels per original pixel. */
export function frameScale(frame: Frame): Point {
  return {
    x: frame.resized.width / frame.original.width,
    y: frame.resized.height / frame.original.height,
  };
}

export function toCanvas(frame: Frame, point: Point): Point {
  const scale = frameScale(frame);
  return { x: point.x * scale.x, y: point.y * scale.y };
}

export function boxToCanvas(frame: Frame, box: Box): Box {
  const { x, y } = frameScale(frame);
  return [box[0] * x, box[1] * y, box[2] * x, box[3] * y];
}

/** Columns and rows of the low-res logits that touch the photo. */
export function lowResCut(frame: Frame): Size {
  const side = (length: number) => Math.ceil((length * frame.lowRes) / frame.canvas);
  return { width: side(frame.resized.width), height: side(frame.resized.height) };
}
