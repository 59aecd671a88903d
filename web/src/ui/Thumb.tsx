// A small picture of one mask on its photo: the part around it, the mask in colour, the rest dimmed.

import { useEffect, useRef } from "preact/hooks";
import { type Bitmap, extent } from "../core/bitmap";
import { withAlpha } from "../core/colours";
import type { Box, Size } from "../core/frames";
import type { Picture } from "../state/photos";
import { pathOf } from "./stage/shapes";

interface Props {
  readonly picture: Picture;
  readonly mask: Bitmap;
  readonly colour: string;
  readonly width: number;
  readonly height: number;
  /** Part of the photo to show; the mask's surroundings when left out. */
  readonly around?: Box | null;
}

/** A window of the thumbnail's shape around a box, with some air, inside the photo where possible. */
export function windowAround(box: Box | null, photo: Size, width: number, height: number): Box {
  const [x0, y0, x1, y1] = box ?? [0, 0, photo.width, photo.height];
  const air = 1.3;
  const scale = Math.max(((x1 - x0) * air) / width, ((y1 - y0) * air) / height, 24 / width);
  const most = Math.max(photo.width / width, photo.height / height);
  const [w, h] = [width * Math.min(scale, most), height * Math.min(scale, most)];
  const place = (middle: number, side: number, limit: number) =>
    side >= limit ? (limit - side) / 2 : Math.min(Math.max(middle - side / 2, 0), limit - side);
  const left = place((x0 + x1) / 2, w, photo.width);
  const top = place((y0 + y1) / 2, h, photo.height);
  return [left, top, left + w, top + h];
}

export function Thumb({ picture, mask, colour, width, height, around }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const ratio = devicePixelRatio;
    const context = canvas.current?.getContext("2d");
    if (!context) return;
    const [x0, y0, x1] = windowAround(around ?? extent(mask), picture.size, width, height);
    const zoom = (width * ratio) / (x1 - x0);
    const level = picture.at(zoom);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width * ratio, height * ratio);
    context.setTransform(zoom, 0, 0, zoom, -x0 * zoom, -y0 * zoom);
    context.imageSmoothingQuality = "high";
    context.drawImage(level, 0, 0, picture.size.width, picture.size.height);
    context.fillStyle = "rgba(8, 10, 14, 0.45)";
    context.fillRect(0, 0, picture.size.width, picture.size.height);
    if (mask.data.length === 0) return;
    const path = pathOf(mask, zoom);
    context.save();
    context.clip(path, "evenodd");
    context.drawImage(level, 0, 0, picture.size.width, picture.size.height);
    context.fillStyle = withAlpha(colour, 0.3);
    context.fillRect(0, 0, picture.size.width, picture.size.height);
    context.restore();
    context.lineWidth = (1.5 * ratio) / zoom;
    context.strokeStyle = colour;
    context.stroke(path);
  }, [picture, mask, colour, width, height, around?.join()]);
  return (
    <canvas
      ref={canvas}
      class="thumb"
      width={Math.round(width * devicePixelRatio)}
      height={Math.round(height * devicePixelRatio)}
      style={{ width: `${width}px`, height: `${height}px` }}
      aria-hidden="true"
    />
  );
}
