// What the page says: short notes in a corner, and a line for screen readers.

import { signal } from "@preact/signals";

export interface Note {
  readonly id: number;
  readonly kind: "info" | "error";
  readonly text: string;
}

export const notes = signal<readonly Note[]>([]);
export const spoken = signal("");

let next = 1;

export function note(text: string, kind: Note["kind"] = "info"): void {
  const id = next++;
  notes.value = [...notes.value.slice(-3), { id, kind, text }];
  setTimeout(() => dismiss(id), kind === "error" ? 12_000 : 4_000);
}

export function dismiss(id: number): void {
  notes.value = notes.value.filter((other) => other.id !== id);
}

/** Tell what happened to people who do not see it. */
export function announce(text: string): void {
  spoken.value = spoken.value === text ? `${text}\u00a0` : text;
}

export function sayError(error: unknown): void {
  const text = error instanceof Error ? error.message : String(error);
  note(text, "error");
  announce(text);
}
