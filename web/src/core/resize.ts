// Photo → model input: Pillow's antialiased bilinear resize, written out, because the browser's own scaling is another
// filter and would move masks. Two passes, across then down, each rounded to 8 bits as Pillow does.

import { type Frame, longestSideSize, type Size } from "./frames";

const PRECISION = 1 << 22;

/** Four or three bytes per pixel, row by row. */
export interface Pixels extends Size {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly channels: 3 | 4;
}

interface Kernel {
  /** First source sample of each output sample. */
  readonly start: Int32Array;
  /** Number of source samples of each output sample. */
  readonly count: Int32Array;
  /** `stride` fixed-point weights per output sample. */
  readonly weights: Int32Array;
  readonly stride: number;
}

/** Triangle filter whose support grows with the reduction. Source: Pillow's resampling with BILINEAR. */
function triangleKernel(from: number, to: number): Kernel {
  const scale = from / to;
  const support = Math.max(scale, 1);
  const stride = Math.ceil(support) * 2 + 1;
  const start = new Int32Array(to);
  const count = new Int32Array(to);
  const weights = new Int32Array(to * stride);
  const real = new Float64Array(stride);
  for (let out = 0; out < to; out++) {
    const centre = (out + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const n = Math.min(from, Math.trunc(centre + support + 0.5)) - first;
    let sum = 0;
    for (let i = 0; i < n; i++) {
      const distance = Math.abs((i + first - centre + 0.5) * (1 / support));
      real[i] = distance < 1 ? 1 - distance : 0;
      sum += real[i]!;
    }
    for (let i = 0; i < n; i++) {
      const weight = sum === 0 ? real[i]! : real[i]! / sum;
      weights[out * stride + i] = Math.trunc(0.5 + weight * PRECISION);
    }
    start[out] = first;
    count[out] = n;
  }
  return { start, count, weights, stride };
}

function clip8(fixed: number): number {
  const value = fixed >> 22;
  return Math.min(Math.max(value, 0), 255);
}

function across(source: Pixels, width: number): Uint8Array {
  const { data, channels, height } = source;
  const kernel = triangleKernel(source.width, width);
  const out = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    const row = y * source.width * channels;
    let at = y * width * 3;
    for (let x = 0; x < width; x++, at += 3) {
      let red = PRECISION >> 1;
      let green = red;
      let blue = red;
      let from = row + kernel.start[x]! * channels;
      const base = x * kernel.stride;
      for (let i = 0; i < kernel.count[x]!; i++, from += channels) {
        const weight = kernel.weights[base + i]!;
        red += weight * data[from]!;
        green += weight * data[from + 1]!;
        blue += weight * data[from + 2]!;
      }
      out[at] = clip8(red);
      out[at + 1] = clip8(green);
      out[at + 2] = clip8(blue);
    }
  }
  return out;
}

function down(data: Uint8Array, size: Size, height: number): Uint8Array {
  const kernel = triangleKernel(size.height, height);
  const line = size.width * 3;
  const out = new Uint8Array(line * height);
  const sums = new Int32Array(line);
  for (let y = 0; y < height; y++) {
    sums.fill(PRECISION >> 1);
    for (let i = 0; i < kernel.count[y]!; i++) {
      const weight = kernel.weights[y * kernel.stride + i]!;
      const from = (kernel.start[y]! + i) * line;
      for (let x = 0; x < line; x++) sums[x] = sums[x]! + weight * data[from + x]!;
    }
    for (let x = 0; x < line; x++) out[y * line + x] = clip8(sums[x]!);
  }
  return out;
}

function withoutAlpha(source: Pixels): Uint8Array {
  if (source.channels === 3) return new Uint8Array(source.data);
  const count = source.width * source.height;
  const out = new Uint8Array(count * 3);
  for (let i = 0; i < count; i++) {
    out[i * 3] = source.data[i * 4]!;
    out[i * 3 + 1] = source.data[i * 4 + 1]!;
    out[i * 3 + 2] = source.data[i * 4 + 2]!;
  }
  return out;
}

/** Pillow 13 shrinks first the way in which far more lines go; the rounding in between makes the order matter. */
function rowsFirst(source: Size, target: Size): boolean {
  const rowsLost = source.height - target.height;
  return rowsLost > 0 && rowsLost > 2 * (source.width - target.width);
}

/** RGB bytes of the photo at another size; alpha is dropped. Equal to Pillow's `resize(..., BILINEAR)` to the byte. */
export function resizeAntialiased(source: Pixels, target: Size): Uint8Array {
  if (source.height !== target.height && rowsFirst(source, target)) {
    const low = { ...target, width: source.width };
    const data = down(withoutAlpha(source), source, target.height);
    return resizeAntialiased({ ...low, data, channels: 3 }, target);
  }
  const narrow = source.width === target.width ? withoutAlpha(source) : across(source, target.width);
  if (source.height === target.height) return narrow;
  return down(narrow, { width: target.width, height: source.height }, target.height);
}

/** The photo with its longest side at `canvas`, RGB bytes. */
export function resizeLongestSide(source: Pixels, canvas: number): Uint8Array {
  return resizeAntialiased(source, longestSideSize(source, canvas));
}

/**
 * RGB bytes of the resized photo → planar float32 [3, S, S]: (value - mean) / std, zeros right and below.
 */
export function toModelInput(
  rgb: Uint8Array,
  frame: Frame,
  mean: readonly number[],
  std: readonly number[],
): Float32Array {
  const { canvas, resized } = frame;
  const out = new Float32Array(3 * canvas * canvas);
  for (let channel = 0; channel < 3; channel++) {
    const table = new Float32Array(256);
    for (let value = 0; value < 256; value++) {
      table[value] = Math.fround(value - Math.fround(mean[channel]!)) / Math.fround(std[channel]!);
    }
    for (let y = 0; y < resized.height; y++) {
      const from = y * resized.width * 3 + channel;
      const to = (channel * canvas + y) * canvas;
      for (let x = 0; x < resized.width; x++) out[to + x] = table[rgb[from + x * 3]!]!;
    }
  }
  return out;
}
