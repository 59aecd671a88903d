// The golden files that Python wrote (tests/golden/web/make.py), and the pictures both sides can paint.

import { readFileSync } from "node:fs";
import { type Bitmap, emptyBitmap, tight } from "../src/core/bitmap";
import type { Pixels } from "../src/core/resize";

export function golden<T>(name: string): T {
  return JSON.parse(
    readFileSync(new URL(`../../tests/golden/web/${name}.json`, import.meta.url), "utf8"),
  ) as T;
}

export function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(base64, "base64"));
}

export function floatsOf(base64: string): Float32Array<ArrayBuffer> {
  return new Float32Array(bytesOf(base64).buffer);
}

/** The same picture as `painted` in make.py, with an alpha channel that must not matter. */
export function painted(height: number, width: number): Pixels {
  const data = new Uint8Array(width * height * 4);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = (y * width + x) * 4;
      data[at] = (x * 7 + y * 13) ^ (x * y);
      data[at + 1] = Math.floor((x * 255) / Math.max(width - 1, 1));
      data[at + 2] = (Math.floor(x / 9) + Math.floor(y / 5)) % 2 === 1 ? 250 : (y * 3) & 255;
      data[at + 3] = 255 - (x & 63);
    }
  }
  return { width, height, data, channels: 4 };
}

/** A whole photo's 0/1 bytes as a mask on its own window. */
export function bitmapOf(data: Uint8Array, height: number, width: number): Bitmap {
  return tight({ x: 0, y: 0, width, height, data });
}

export function wholeOf(mask: Bitmap, height: number, width: number): Uint8Array {
  const out = emptyBitmap(0, 0, width, height);
  for (let y = 0; y < mask.height; y++) {
    for (let x = 0; x < mask.width; x++) {
      out.data[(y + mask.y) * width + x + mask.x] = mask.data[y * mask.width + x]!;
    }
  }
  return out.data;
}

/** A repeatable random number generator (mulberry32). */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function randomMask(draw: () => number, width: number, height: number): Bitmap {
  const data = new Uint8Array(width * height);
  const centres = Array.from({ length: 3 }, () => [
    draw() * width,
    draw() * height,
    1 + draw() * (width / 3),
  ]);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const inside = centres.filter(([cx, cy, r]) => (x - cx!) ** 2 + (y - cy!) ** 2 < r! * r!).length;
      data[y * width + x] = (inside % 2) ^ (draw() < 0.03 ? 1 : 0);
    }
  }
  return bitmapOf(data, height, width);
}
