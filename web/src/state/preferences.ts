// Choices that outlive a visit: theme, tool settings, where photos are encoded. Kept in localStorage, if it is there.

import { effect, type Signal, signal } from "@preact/signals";
import type { Place } from "./engine";

function kept<T>(name: string, start: T, fits: (value: unknown) => value is T): Signal<T> {
  const key = `segany.${name}`;
  let value = start;
  try {
    const found: unknown = JSON.parse(localStorage.getItem(key) ?? "null");
    if (fits(found)) value = found;
  } catch {
    // No storage, or nonsense in it: the standard value does.
  }
  const state = signal(value);
  effect(() => {
    const text = JSON.stringify(state.value);
    try {
      localStorage.setItem(key, text);
    } catch {
      // A private window may refuse; the choice then lasts as long as the page.
    }
  });
  return state;
}

function oneOf<T extends string>(...values: T[]) {
  return (value: unknown): value is T => values.includes(value as T);
}

export type Theme = "system" | "dark" | "light";
export type Tool = "segment" | "select" | "brush" | "erase" | "pan";

export const theme = kept<Theme>("theme", "system", oneOf("system", "dark", "light"));
export const encodePlace = kept<Place>("encode", "service", oneOf("page", "service"));
export const chosenModel = kept<string>("model", "", (value): value is string => typeof value === "string");
export const isPreviewing = kept<boolean>(
  "preview",
  true,
  (value): value is boolean => typeof value === "boolean",
);
/** Brush radius in pixels of the screen: the same under the hand at every zoom. */
export const brushRadius = kept<number>("brush", 18, (value): value is number => typeof value === "number");
/** Clicks a side of "everything". */
export const density = kept<number>("density", 16, (value): value is number =>
  [8, 16, 32].includes(value as number),
);
export const tool = signal<Tool>("segment");
/** What a tap means on a screen without a right button. */
export const tapMeans = signal<"foreground" | "background">("foreground");

export const isDark = () =>
  theme.value === "dark" || (theme.value === "system" && matchMedia("(prefers-color-scheme: dark)").matches);

effect(() => {
  document.documentElement.dataset.theme = isDark() ? "dark" : "light";
});
if (typeof matchMedia === "function") {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    document.documentElement.dataset.theme = isDark() ? "dark" : "light";
  });
}
