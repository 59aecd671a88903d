// One pointer on the stage: is it a click, a drag, or a long press? Pure, so that it can be tested without a browser.

import type { Point } from "./frames";

export type Gesture =
  | { readonly kind: "idle" }
  | { readonly kind: "down"; readonly at: Point; readonly button: number; readonly time: number }
  | { readonly kind: "drag"; readonly from: Point; readonly to: Point; readonly button: number };

export type Outcome =
  | { readonly kind: "none" }
  | { readonly kind: "click"; readonly at: Point; readonly button: number }
  | { readonly kind: "box"; readonly from: Point; readonly to: Point };

export const IDLE: Gesture = { kind: "idle" };
/** CSS pixels a pointer may wander and still be a click. */
export const SLACK = 5;
/** Milliseconds after which a finger that has not moved means "background". */
export const LONG_PRESS_MS = 500;

const far = (a: Point, b: Point) => Math.hypot(a.x - b.x, a.y - b.y) > SLACK;

export function pressed(at: Point, button: number, time: number): Gesture {
  return { kind: "down", at, button, time };
}

export function moved(gesture: Gesture, to: Point): Gesture {
  if (gesture.kind === "drag") return { ...gesture, to };
  if (gesture.kind === "down" && far(gesture.at, to)) {
    return { kind: "drag", from: gesture.at, to, button: gesture.button };
  }
  return gesture;
}

/** What the finished gesture means; a finger held still for long is the right button. */
export function released(gesture: Gesture, at: Point, time: number, touch: boolean): Outcome {
  const last = moved(gesture, at);
  if (last.kind === "drag") {
    return last.button === 0 ? { kind: "box", from: last.from, to: last.to } : { kind: "none" };
  }
  if (last.kind !== "down") return { kind: "none" };
  const long = touch && time - last.time >= LONG_PRESS_MS;
  return { kind: "click", at: last.at, button: long ? 2 : last.button };
}
