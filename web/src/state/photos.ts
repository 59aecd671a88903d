// Files → photos the page can work on: identity, size, picture for the screen, thumbnail.

import { newDocument } from "../core/document";
import type { Size } from "../core/frames";
import { imageIdFor } from "../core/ids";
import { sha256Hex } from "../core/sha256";
import { newWork, type Work } from "../core/work";
import type { StoredPhoto } from "./storage";

const THUMBNAIL = 160;
const MOST_PIXELS = 120_000_000;

export const ACCEPTED =
  "image/jpeg,image/png,image/webp,image/gif,image/bmp,image/avif,application/json,.json";

/** The photo turned upright, for the screen. */
export async function pictureOf(file: Blob, name: string): Promise<ImageBitmap> {
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  } catch {
    throw new Error(
      `${name} must be a picture this browser can show (JPEG, PNG, WebP, GIF, BMP); it cannot be decoded. ` +
        "It may be damaged or of another kind: save it as JPEG or PNG.",
    );
  }
}

async function thumbnailOf(picture: ImageBitmap): Promise<Blob | null> {
  const scale = Math.min(1, THUMBNAIL / Math.min(picture.width, picture.height));
  const width = Math.max(1, Math.round(picture.width * scale));
  const height = Math.max(1, Math.round(picture.height * scale));
  const canvas = new OffscreenCanvas(Math.min(width, THUMBNAIL * 3), Math.min(height, THUMBNAIL * 3));
  const context = canvas.getContext("2d");
  if (context === null) return null;
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, width, height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.8 });
}

export async function readPhoto(file: File, added: number): Promise<StoredPhoto> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const key = await sha256Hex(bytes);
  const copy = new Blob([bytes], { type: file.type || "image/jpeg" });
  const picture = await pictureOf(copy, file.name);
  try {
    const { width, height } = picture;
    if (width * height > MOST_PIXELS) {
      throw new Error(
        `${file.name} must have at most ${MOST_PIXELS / 1e6} million pixels; it has ` +
          `${Math.round((width * height) / 1e6)} million. Shrink it first.`,
      );
    }
    return { key, name: file.name, width, height, file: copy, thumbnail: await thumbnailOf(picture), added };
  } finally {
    picture.close();
  }
}

export function freshWork(photo: StoredPhoto): Work {
  const { width, height } = photo;
  const image = {
    image_id: imageIdFor(photo.name, photo.key),
    width,
    height,
    file_name: photo.name,
    sha256: photo.key,
  };
  return newWork(newDocument(image, new Date().toISOString()));
}

/** The photo at halving sizes, so that a zoomed-out view is sharp and quick to draw. */
export class Picture {
  private readonly levels: ImageBitmap[];

  constructor(whole: ImageBitmap) {
    this.levels = [whole];
    void this.shrink();
  }

  get size(): Size {
    return { width: this.levels[0]!.width, height: this.levels[0]!.height };
  }

  private async shrink(): Promise<void> {
    for (;;) {
      const last = this.levels.at(-1)!;
      if (Math.max(last.width, last.height) <= 512) return;
      const resizeWidth = Math.max(1, Math.round(last.width / 2));
      const resizeHeight = Math.max(1, Math.round(last.height / 2));
      try {
        this.levels.push(await createImageBitmap(last, { resizeWidth, resizeHeight, resizeQuality: "high" }));
      } catch {
        return; // closed meanwhile
      }
    }
  }

  /** The smallest level that still has a pixel for every pixel of the screen. */
  at(pixelsPerPixel: number): ImageBitmap {
    const whole = this.levels[0]!;
    let best = whole;
    for (const level of this.levels) {
      if (level.width >= whole.width * pixelsPerPixel * 0.99) best = level;
    }
    return best;
  }

  close(): void {
    for (const level of this.levels) level.close();
    this.levels.length = 1;
  }
}
