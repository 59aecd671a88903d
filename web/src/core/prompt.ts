// What a person says about one thing in the photo, and what of it the decoder is told.

import { type Box, boxToCanvas, type Frame, toCanvas } from "./frames";
import type { Stroke } from "./strokes";

export type At = { readonly at: string };
export type PointEvent = At & {
  readonly kind: "point";
  readonly x: number;
  readonly y: number;
  readonly label: 0 | 1;
};
export type BoxEvent = At & { readonly kind: "box"; readonly xyxy: Box };
export type StrokeEvent = At & Stroke;
export type OtherEvent = At &
  ({ readonly kind: "everything" } | { readonly kind: "detector"; readonly score: number });
/** One entry of an annotation's `interaction.prompts`, in the order it happened. */
export type PromptEvent = PointEvent | BoxEvent | StrokeEvent | OtherEvent;

/** What goes to the decoder, in pixels of the photo. */
export interface Prompt {
  readonly points: readonly { readonly x: number; readonly y: number; readonly label: 0 | 1 }[];
  readonly box: Box | null;
  /** Logits on the model's low-res grid: the mask so far. */
  readonly hint: Float32Array | null;
}

export function isStroke(event: PromptEvent): event is StrokeEvent {
  return event.kind === "brush" || event.kind === "erase";
}

/** Clicks and the newest box; null when there is neither. */
export function promptOf(events: readonly PromptEvent[], hint: Float32Array | null): Prompt | null {
  const points = events.filter((event) => event.kind === "point");
  const box = events.filter((event) => event.kind === "box").at(-1)?.xyxy ?? null;
  return points.length === 0 && box === null ? null : { points, box, hint };
}

/** The paper's rule: exactly one click or one box, and no mask, is ambiguous and gets three candidates. */
export function wantsCandidates(prompt: Prompt): boolean {
  return prompt.hint === null && prompt.points.length + (prompt.box === null ? 0 : 1) === 1;
}

/** Output tokens to show: three candidates, or the single mask. */
export function tokensToShow(prompt: Prompt, outputs: number): number[] {
  return wantsCandidates(prompt) ? Array.from({ length: outputs - 1 }, (_, i) => i + 1) : [0];
}

const BACKGROUND = 0;
const FOREGROUND = 1;
const TOP_LEFT = 2;
const BOTTOM_RIGHT = 3;
const PADDING = -1;

export interface DecoderPoints {
  /** x, y of every token in canvas pixels. */
  readonly coords: Float32Array;
  readonly labels: Float32Array;
}

/** Points, then the box's corners, or without a box the one padding point that belongs to the model. */
export function decoderPoints(prompt: Prompt, frame: Frame): DecoderPoints {
  const coords: number[] = [];
  const labels: number[] = [];
  for (const point of prompt.points) {
    const { x, y } = toCanvas(frame, point);
    coords.push(x, y);
    labels.push(point.label === 1 ? FOREGROUND : BACKGROUND);
  }
  if (prompt.box === null) {
    coords.push(0, 0);
    labels.push(PADDING);
  } else {
    coords.push(...boxToCanvas(frame, prompt.box));
    labels.push(TOP_LEFT, BOTTOM_RIGHT);
  }
  return { coords: Float32Array.from(coords), labels: Float32Array.from(labels) };
}

/** A box from any two corners, held inside the photo; null when it is thinner than a pixel. */
export function boxOf(
  a: { x: number; y: number },
  b: { x: number; y: number },
  width: number,
  height: number,
): Box | null {
  const hold = (value: number, limit: number) => Math.min(Math.max(value, 0), limit);
  const x0 = hold(Math.min(a.x, b.x), width);
  const y0 = hold(Math.min(a.y, b.y), height);
  const x1 = hold(Math.max(a.x, b.x), width);
  const y1 = hold(Math.max(a.y, b.y), height);
  return x1 - x0 >= 1 && y1 - y0 >= 1 ? [x0, y0, x1, y1] : null;
}
