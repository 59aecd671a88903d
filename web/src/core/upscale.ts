// Low-res logits → the photo: bilinear to the canvas, cut to the photo, bilinear to the wanted size. Both steps act on
// rows and columns apart, so together they are one small table per axis, and any window can be computed alone.

import { type Bitmap, EMPTY, emptyBitmap } from "./bitmap";
import type { Frame, Size } from "./frames";

const TAPS = 4;

/** How each line of the output is mixed from at most `TAPS` neighbouring low-res lines. */
interface Axis {
  readonly first: Int32Array;
  readonly weights: Float32Array;
  readonly length: number;
}

/** Where a linear resize without corner alignment reads: two neighbours and the second one's share. */
function linear(out: number, from: number, to: number): [number, number, number] {
  const at = Math.max(0, (out + 0.5) * (from / to) - 0.5);
  const low = Math.min(Math.floor(at), from - 1);
  return [low, Math.min(low + 1, from - 1), Math.min(at - low, 1)];
}

function axisOf(lowRes: number, canvas: number, cut: number, out: number): Axis {
  const first = new Int32Array(out);
  const weights = new Float32Array(out * TAPS);
  for (let i = 0; i < out; i++) {
    const [a, b, share] = linear(i, cut, out);
    const start = linear(a, lowRes, canvas)[0];
    first[i] = start;
    for (const [line, part] of [
      [a, 1 - share],
      [b, share],
    ] as const) {
      const [low, high, mix] = linear(line, lowRes, canvas);
      weights[i * TAPS + low - start] = weights[i * TAPS + low - start]! + part * (1 - mix);
      weights[i * TAPS + high - start] = weights[i * TAPS + high - start]! + part * mix;
    }
  }
  return { first, weights, length: out };
}

/** First and last output line that low-res lines [from, to] touch, the last exclusive. */
function reach(axis: Axis, from: number, to: number): [number, number] {
  let [start, end] = [axis.length, 0];
  for (let i = 0; i < axis.length; i++) {
    for (let tap = 0; tap < TAPS; tap++) {
      const line = axis.first[i]! + tap;
      if (axis.weights[i * TAPS + tap] !== 0 && line >= from && line <= to) {
        start = Math.min(start, i);
        end = i + 1;
        break;
      }
    }
  }
  return [start, end];
}

export interface Window extends Size {
  readonly x: number;
  readonly y: number;
}

export class Upscaler {
  private readonly columns: Axis;
  private readonly rows: Axis;

  /**
   * @param frame of the photo.
   * @param target size of the result; the photo's own unless a smaller preview is wanted.
   */
  constructor(
    readonly frame: Frame,
    readonly target: Size = frame.original,
  ) {
    const { canvas, lowRes, resized } = frame;
    this.columns = axisOf(lowRes, canvas, resized.width, target.width);
    this.rows = axisOf(lowRes, canvas, resized.height, target.height);
  }

  /** Smallest window outside which no logit exceeds `above`: bilinear mixing never overshoots. */
  window(logits: Float32Array, above: number): Window {
    const side = this.frame.lowRes;
    let [left, top, right, bottom] = [side, side, -1, -1];
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        if (logits[y * side + x]! > above) {
          if (x < left) left = x;
          if (x > right) right = x;
          if (y < top) top = y;
          bottom = y;
        }
      }
    }
    if (right < 0) return { x: 0, y: 0, width: 0, height: 0 };
    const [x0, x1] = reach(this.columns, left, right);
    const [y0, y1] = reach(this.rows, top, bottom);
    if (x1 <= x0 || y1 <= y0) return { x: 0, y: 0, width: 0, height: 0 };
    return { x: x0, y: y0, width: x1 - x0, height: y1 - y0 };
  }

  /** Calls `visit` with each row of a window of upscaled logits; the row's array is used again for the next. */
  forRows(logits: Float32Array, window: Window, visit: (row: Float32Array, y: number) => void): void {
    const side = this.frame.lowRes;
    const { width } = window;
    const wide = this.mixColumns(logits, window);
    const row = new Float32Array(width);
    for (let y = 0; y < window.height; y++) {
      const from = this.rows.first[window.y + y]!;
      const weights = this.rows.weights.subarray((window.y + y) * TAPS, (window.y + y + 1) * TAPS);
      row.fill(0);
      for (let tap = 0; tap < TAPS && from + tap < side; tap++) {
        const weight = weights[tap]!;
        if (weight === 0) continue;
        const base = (from + tap) * width;
        for (let x = 0; x < width; x++) row[x] = row[x]! + weight * wide[base + x]!;
      }
      visit(row, y);
    }
  }

  /** (lowRes rows, window columns): the logits mixed along x. */
  private mixColumns(logits: Float32Array, window: Window): Float32Array {
    const side = this.frame.lowRes;
    const { first, weights } = this.columns;
    const out = new Float32Array(side * window.width);
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < window.width; x++) {
        const column = window.x + x;
        const from = y * side + first[column]!;
        let sum = 0;
        for (let tap = 0; tap < TAPS; tap++) {
          const weight = weights[column * TAPS + tap]!;
          if (weight !== 0) sum += weight * logits[from + tap]!;
        }
        out[y * window.width + x] = sum;
      }
    }
    return out;
  }

  /** The mask strictly above the threshold, on its own window of the target. */
  mask(logits: Float32Array, threshold = 0): Bitmap {
    const window = this.window(logits, threshold);
    if (window.width === 0) return EMPTY;
    const mask = emptyBitmap(window.x, window.y, window.width, window.height);
    this.forRows(logits, window, (row, y) => {
      const base = y * window.width;
      for (let x = 0; x < row.length; x++) if (row[x]! > threshold) mask.data[base + x] = 1;
    });
    return mask;
  }

  /** Share of the mask that survives moving the threshold by ± offset; an empty mask scores 0. */
  stability(logits: Float32Array, threshold = 0, offset = 1): number {
    let [inner, outer] = [0, 0];
    this.forRows(logits, this.window(logits, threshold - offset), (row) => {
      for (const value of row) {
        if (value > threshold - offset) outer++;
        if (value > threshold + offset) inner++;
      }
    });
    return outer === 0 ? 0 : inner / outer;
  }
}

/** Size for a quick preview: the photo, or smaller so that its longest side is at most `limit`. */
export function previewSize(photo: Size, limit: number): Size {
  const scale = Math.min(1, limit / Math.max(photo.width, photo.height));
  const side = (length: number) => Math.max(1, Math.round(length * scale));
  return { width: side(photo.width), height: side(photo.height) };
}
