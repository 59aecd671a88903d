// Small holes and small islands; pixels touching by a side or a corner belong together (8-connectivity), as in Python.

import { type Bitmap, rewindow, tight } from "./bitmap";
import type { Size } from "./frames";

interface Components {
  readonly labels: Int32Array;
  /** Pixels of each label; label 0 is what was not asked for. */
  readonly sizes: number[];
  /** Whether the label touches the window's edge. */
  readonly atEdge: boolean[];
}

function componentsOf(mask: Bitmap, value: 0 | 1): Components {
  const { width, height, data } = mask;
  const labels = new Int32Array(width * height);
  const sizes = [0];
  const atEdge = [false];
  const stack: number[] = [];
  for (let start = 0; start < data.length; start++) {
    if (data[start] !== value || labels[start] !== 0) continue;
    const label = sizes.length;
    let [size, edge] = [0, false];
    labels[start] = label;
    stack.push(start);
    while (stack.length > 0) {
      const at = stack.pop()!;
      const x = at % width;
      const y = (at - x) / width;
      size++;
      edge ||= x === 0 || y === 0 || x === width - 1 || y === height - 1;
      for (let ny = Math.max(0, y - 1); ny <= Math.min(height - 1, y + 1); ny++) {
        for (let nx = Math.max(0, x - 1); nx <= Math.min(width - 1, x + 1); nx++) {
          const next = ny * width + nx;
          if (data[next] === value && labels[next] === 0) {
            labels[next] = label;
            stack.push(next);
          }
        }
      }
    }
    sizes.push(size);
    atEdge.push(edge);
  }
  return { labels, sizes, atEdge };
}

/** One pixel wider on every side, or as far as the photo's edge where only a sliver of fewer than `area` is left. */
function withMargin(mask: Bitmap, photo: Size, area: number): Bitmap {
  const x0 = mask.x * photo.height < area ? 0 : mask.x - 1;
  const y0 = mask.y * photo.width < area ? 0 : mask.y - 1;
  const [right, bottom] = [mask.x + mask.width, mask.y + mask.height];
  const x1 = (photo.width - right) * photo.height < area ? photo.width : right + 1;
  const y1 = (photo.height - bottom) * photo.width < area ? photo.height : bottom + 1;
  return rewindow(mask, x0, y0, x1 - x0, y1 - y0);
}

export interface Cleaned {
  readonly mask: Bitmap;
  readonly changed: boolean;
}

/** Fill every background part smaller than the area, enclosed or at the photo's edge. */
export function fillSmallHoles(mask: Bitmap, area: number, photo: Size): Cleaned {
  if (mask.data.length === 0) return { mask, changed: false };
  const wide = withMargin(mask, photo, area);
  const { labels, sizes, atEdge } = componentsOf(wide, 0);
  const touchesOutside = (label: number) =>
    atEdge[label] === true && wide.width * wide.height < photo.width * photo.height;
  const fill = sizes.map((size, label) => label > 0 && size < area && !reachesOut(label));
  function reachesOut(label: number): boolean {
    if (!touchesOutside(label)) return false;
    for (let i = 0; i < labels.length; i++) {
      if (labels[i] !== label) continue;
      const x = (i % wide.width) + wide.x;
      const y = Math.floor(i / wide.width) + wide.y;
      const outward =
        (x === wide.x && x > 0) ||
        (y === wide.y && y > 0) ||
        (x === wide.x + wide.width - 1 && x < photo.width - 1) ||
        (y === wide.y + wide.height - 1 && y < photo.height - 1);
      if (outward) return true;
    }
    return false;
  }
  if (!fill.some(Boolean)) return { mask, changed: false };
  const data = wide.data.slice();
  for (let i = 0; i < data.length; i++) if (fill[labels[i]!]) data[i] = 1;
  return { mask: tight({ ...wide, data }), changed: true };
}

/** Remove every part smaller than the area; if all are smaller, the largest stays (and counts as changed). */
export function removeSmallIslands(mask: Bitmap, area: number): Cleaned {
  const { labels, sizes } = componentsOf(mask, 1);
  if (sizes.slice(1).every((size) => size >= area)) return { mask, changed: false };
  const keep = sizes.map((size, label) => label > 0 && size >= area);
  if (!keep.some(Boolean)) {
    keep[sizes.indexOf(Math.max(...sizes.slice(1)), 1)] = true;
  }
  const data = mask.data.slice();
  for (let i = 0; i < data.length; i++) if (data[i] === 1 && !keep[labels[i]!]) data[i] = 0;
  return { mask: tight({ ...mask, data }), changed: true };
}
