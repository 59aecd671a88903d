// What every key and menu entry does, for whatever is open.

import { type ReadonlySignal, signal } from "@preact/signals";
import { type CommandName, commandOf } from "../core/shortcuts";
import { isHidden } from "../core/work";
import type { Annotator } from "../state/annotator";
import type { Engine } from "../state/engine";
import { note } from "../state/messages";
import { brushRadius, density, isDark, isPreviewing, theme, tool } from "../state/preferences";
import type { StageState } from "../state/stage";
import { moveCrosshair } from "./stage/Stage";

export type Dialog = "help" | "export" | null;
export const dialog = signal<Dialog>(null);
/** The mask whose name is being typed. */
export const renaming = signal<number | null>(null);

export interface Target {
  readonly engine: ReadonlySignal<Engine | null>;
  readonly annotator: Annotator | null;
  readonly stage: StageState | null;
  /** What the screen itself does, beyond the open photo. */
  readonly own: Partial<Record<CommandName, () => unknown>>;
}

const RADIUS = { least: 2, most: 200 };

export function setRadius(value: number): void {
  brushRadius.value = Math.round(Math.min(Math.max(value, RADIUS.least), RADIUS.most));
}

function step(annotator: Annotator, by: number): void {
  const list = annotator.work.value.document.annotations;
  if (list.length === 0) return;
  const place = list.findIndex((one) => one.id === annotator.selected.value);
  const next = place < 0 ? (by > 0 ? 0 : list.length - 1) : (place + by + list.length) % list.length;
  annotator.selected.value = list[next]!.id;
}

export function toggleAll(annotator: Annotator): void {
  const list = annotator.work.value.document.annotations;
  const anyShown = list.some((one) => !isHidden(one));
  annotator.setHidden(
    list.map((one) => one.id),
    anyShown,
  );
}

function keyboardBox(annotator: Annotator): void {
  const at = annotator.crosshair.value;
  const corner = annotator.corner.value;
  if (at === null) return;
  if (corner === null) {
    annotator.corner.value = at;
    return;
  }
  annotator.corner.value = null;
  const [x0, x1] = [Math.min(corner.x, at.x), Math.max(corner.x, at.x)];
  const [y0, y1] = [Math.min(corner.y, at.y), Math.max(corner.y, at.y)];
  if (x1 - x0 >= 1 && y1 - y0 >= 1) annotator.box([x0, y0, x1, y1]);
}

function cancel(annotator: Annotator): void {
  if (annotator.sweep.value !== null) annotator.cancelEverything();
  else if (annotator.corner.value !== null) annotator.corner.value = null;
  else if (annotator.draft.value !== null) annotator.discard();
  else if (annotator.work.value.found !== null) annotator.dropFound(null);
  else if (annotator.crosshair.value !== null) {
    annotator.crosshair.value = null;
    annotator.point(null);
  } else annotator.selected.value = null;
}

/** Do a command; false when there is nothing it could apply to. */
export function run(name: CommandName, target: Target, fine = false): boolean {
  const own = target.own[name];
  if (own !== undefined) {
    own();
    return true;
  }
  switch (name) {
    case "help":
      dialog.value = dialog.value === "help" ? null : "help";
      return true;
    case "theme":
      theme.value = isDark() ? "light" : "dark";
      return true;
    default:
      return target.annotator !== null && target.stage !== null
        ? runOnPhoto(name, target.annotator, target.stage, fine)
        : false;
  }
}

function runOnPhoto(name: CommandName, annotator: Annotator, stage: StageState, fine: boolean): boolean {
  const selected = annotator.selected.value;
  const at = annotator.crosshair.value;
  const actions: Partial<Record<CommandName, () => unknown>> = {
    undo: () => annotator.undo(),
    redo: () => annotator.redo(),
    toolSegment: () => setTool("segment"),
    toolSelect: () => setTool("select"),
    toolBrush: () => setTool("brush"),
    toolErase: () => setTool("erase"),
    toolPan: () => setTool("pan"),
    smaller: () => setRadius(brushRadius.value / 1.2 - 1),
    larger: () => setRadius(brushRadius.value * 1.2 + 1),
    everything: () => annotator.everything(density.value),
    preview: () => {
      isPreviewing.value = !isPreviewing.value;
      annotator.point(null);
      note(isPreviewing.value ? "Preview under the pointer is on." : "Preview under the pointer is off.");
    },
    accept: () => (annotator.work.value.found !== null ? annotator.pickAll() : annotator.accept()),
    cancel: () => cancel(annotator),
    nextCandidate: () => annotator.cycle(1),
    previousCandidate: () => annotator.cycle(-1),
    candidate1: () => annotator.choose(0),
    candidate2: () => annotator.choose(1),
    candidate3: () => annotator.choose(2),
    nextMask: () => step(annotator, 1),
    previousMask: () => step(annotator, -1),
    hideAll: () => toggleAll(annotator),
    zoomIn: () => stage.zoom(1.25),
    zoomOut: () => stage.zoom(0.8),
    zoomFit: () => stage.fit(),
    zoomActual: () => stage.actual(),
    cursorUp: () => moveCrosshair(annotator, stage, 0, -1, fine),
    cursorDown: () => moveCrosshair(annotator, stage, 0, 1, fine),
    cursorLeft: () => moveCrosshair(annotator, stage, -1, 0, fine),
    cursorRight: () => moveCrosshair(annotator, stage, 1, 0, fine),
    cursorForeground: () => at && annotator.click(at, 1),
    cursorBackground: () => at && annotator.click(at, 0),
    cursorBox: () => keyboardBox(annotator),
    ...(selected !== null && {
      editMask: () => annotator.edit(selected),
      rename: () => {
        renaming.value = selected;
      },
      recolour: () => annotator.nextColour(selected),
      hide: () => {
        const one = annotator.work.value.document.annotations.find((other) => other.id === selected);
        if (one) annotator.setHidden([selected], !isHidden(one));
      },
      remove: () => annotator.remove(selected),
    }),
  };
  const action = actions[name];
  action?.();
  return action !== undefined;
}

export function setTool(next: typeof tool.value): void {
  tool.value = next;
}

const TYPING = "input, textarea, select, [contenteditable]";

/** Keys for the whole page, except while somebody types or a dialog is open. */
export function listenToKeys(targetOf: () => Target): () => void {
  const down = (event: KeyboardEvent) => {
    const name = commandOf(event);
    const element = event.target as HTMLElement;
    if (name === null || element.matches?.(TYPING)) return;
    if (dialog.value !== null || element.closest?.("dialog")) return;
    // Enter on a focused button presses it; the stage and the page take it for "accept".
    if (name === "accept" && element.closest("button, a, summary")) return;
    if (name.startsWith("cursor") && element.closest("[role=listbox], [role=radiogroup], .menu")) return;
    if (run(name, targetOf(), event.shiftKey)) event.preventDefault();
  };
  // The stage shows its focus only to those who got there by keyboard.
  const tab = (event: KeyboardEvent) => {
    if (event.key === "Tab") document.documentElement.dataset.keyboard = "";
  };
  const point = () => delete document.documentElement.dataset.keyboard;
  addEventListener("keydown", down);
  addEventListener("keydown", tab);
  addEventListener("pointerdown", point);
  return () => {
    removeEventListener("keydown", down);
    removeEventListener("keydown", tab);
    removeEventListener("pointerdown", point);
  };
}
