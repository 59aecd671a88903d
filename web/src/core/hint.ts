// A mask as a hint for the model: ± 10 logits on the low-res grid by the share of each cell that the mask covers.

import type { Bitmap } from "./bitmap";
import type { Frame } from "./frames";

const LOGIT = 10;

/** Pixels [0, 1) of one axis → shares of the output cells, by overlap of intervals. */
function spread(from: number, to: number): { start: number; weights: number[] }[] {
  const scale = from / to;
  return Array.from({ length: to }, (_, i) => {
    const [a, b] = [i * scale, (i + 1) * scale];
    const start = Math.floor(a + 1e-9);
    const end = Math.min(from, Math.max(start + 1, Math.ceil(b - 1e-9)));
    const weights = [];
    for (let p = start; p < end; p++) weights.push((Math.min(b, p + 1) - Math.max(a, p)) / (b - a));
    return { start, weights };
  });
}

function shrink(
  data: Float32Array,
  width: number,
  height: number,
  toWidth: number,
  toHeight: number,
): Float32Array {
  const columns = spread(width, toWidth);
  const rows = spread(height, toHeight);
  const narrow = new Float32Array(toWidth * height);
  for (let y = 0; y < height; y++) {
    columns.forEach(({ start, weights }, x) => {
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i]! * data[y * width + start + i]!;
      narrow[y * toWidth + x] = sum;
    });
  }
  const out = new Float32Array(toWidth * toHeight);
  rows.forEach(({ start, weights }, y) => {
    for (let i = 0; i < weights.length; i++) {
      for (let x = 0; x < toWidth; x++) {
        out[y * toWidth + x] = out[y * toWidth + x]! + weights[i]! * narrow[(start + i) * toWidth + x]!;
      }
    }
  });
  return out;
}

/** (lowRes, lowRes) logits of a mask of the photo. */
export function maskToLogits(mask: Bitmap, frame: Frame): Float32Array {
  const { original, resized, canvas, lowRes } = frame;
  const whole = new Float32Array(original.width * original.height);
  for (let y = 0; y < mask.height; y++) {
    for (let x = 0; x < mask.width; x++) {
      if (mask.data[y * mask.width + x] === 1) whole[(mask.y + y) * original.width + mask.x + x] = 1;
    }
  }
  const photo = shrink(whole, original.width, original.height, resized.width, resized.height);
  const onCanvas = new Float32Array(canvas * canvas);
  for (let y = 0; y < resized.height; y++) {
    onCanvas.set(photo.subarray(y * resized.width, (y + 1) * resized.width), y * canvas);
  }
  return shrink(onCanvas, canvas, canvas, lowRes, lowRes).map((share) => (2 * share - 1) * LOGIT);
}
