// The work on one photo as a value: the document, the mask being made, and what "everything" found. Every change is a
// function from one value to the next, so that undo, redo and saving need to know nothing of what changed.

import { type Bitmap, EMPTY } from "./bitmap";
import { distinctColour } from "./colours";
import { type Annotation, type AnnotationDocument, type Interaction, maskKeys, nextId } from "./document";
import type { Size } from "./frames";
import { isStroke, type PromptEvent } from "./prompt";
import type { Rle } from "./rle";
import { applyStrokes } from "./strokes";
import type { FoundMask } from "./sweep";

/** The model's answer to the clicks and the box so far. */
export interface Answer {
  readonly tokens: readonly number[];
  readonly predictedIou: readonly number[];
  readonly best: number;
  readonly lowRes: readonly Float32Array[];
  /** Masks at the photo's size. */
  readonly masks: readonly Bitmap[];
  /** Fingerprint of the model. */
  readonly model: string;
}

/**
 * What was asked of the model: all clicks and the box up to some event, with the mask before as a hint. The answer
 * arrives later and is written here, once.
 */
export interface Turn {
  readonly events: readonly PromptEvent[];
  /** The turn before and the candidate that was looked at, or a mask to start from. */
  readonly from: { readonly turn: Turn; readonly chosen: number | null } | { readonly mask: Rle } | null;
  /** Logits of the hint, when they are known already (after a reload). */
  hint: Float32Array | null;
  answer: Answer | null;
}

/** The mask being made. */
export interface Draft {
  readonly events: readonly PromptEvent[];
  /** The accepted mask that is worked on again. */
  readonly base: Annotation | null;
  readonly turn: Turn | null;
  /** Which candidate the person chose; null leaves it to the model. */
  readonly chosen: number | null;
  readonly created: string;
  /** Active seconds of the photo when the draft began. */
  readonly since: number;
}

export interface Work {
  readonly document: AnnotationDocument;
  readonly draft: Draft | null;
  /** What "everything" found and nobody took yet. */
  readonly found: readonly FoundMask[] | null;
}

export function newWork(document: AnnotationDocument): Work {
  return { document, draft: null, found: null };
}

function withDocument(work: Work, change: Partial<AnnotationDocument>, now: string): Work {
  return { ...work, document: { ...work.document, ...change, modified: now } };
}

/** Active time is no step of its own. */
export function withActiveSeconds(work: Work, seconds: number): Work {
  return { ...work, document: { ...work.document, active_seconds: seconds } };
}

/** The index of the candidate that is looked at. */
export function shownIndex(draft: Draft): number {
  const answer = draft.turn?.answer;
  return Math.min(draft.chosen ?? answer?.best ?? 0, Math.max((answer?.masks.length ?? 1) - 1, 0));
}

/** A click, a box or a stroke more. */
export function withEvent(work: Work, event: PromptEvent, now: string): Work {
  const before: Draft = work.draft ?? {
    events: [],
    base: null,
    turn: null,
    chosen: null,
    created: now,
    since: work.document.active_seconds,
  };
  const events = [...before.events, event];
  if (isStroke(event)) return { ...work, draft: { ...before, events } };
  const from = before.turn
    ? { turn: before.turn, chosen: before.chosen }
    : before.base
      ? { mask: before.base.segmentation }
      : null;
  const turn: Turn = { events, from, hint: null, answer: null };
  return { ...work, draft: { ...before, events, turn, chosen: null } };
}

export function withChoice(work: Work, chosen: number): Work {
  const count = work.draft?.turn?.answer?.masks.length ?? 0;
  if (work.draft === null || count < 2 || shownIndex(work.draft) === chosen) return work;
  return { ...work, draft: { ...work.draft, chosen: ((chosen % count) + count) % count } };
}

export function withoutDraft(work: Work): Work {
  return work.draft === null ? work : { ...work, draft: null };
}

/** Work on an accepted mask again. */
export function editing(work: Work, id: number, now: string): Work {
  const base = work.document.annotations.find((annotation) => annotation.id === id);
  if (base === undefined) return work;
  const since = work.document.active_seconds;
  return { ...work, draft: { events: [], base, turn: null, chosen: null, created: now, since } };
}

/** The draft's mask at the photo's size: the model's or the one worked on again, then the strokes on top. */
export function draftMask(draft: Draft, photo: Size, decoded: (rle: Rle) => Bitmap): Bitmap {
  const answer = draft.turn?.answer;
  const start = answer?.masks[shownIndex(draft)] ?? (draft.base ? decoded(draft.base.segmentation) : EMPTY);
  return applyStrokes(start, draft.events.filter(isStroke), photo);
}

function interactionOf(draft: Draft, work: Work, now: string): Interaction {
  const answer = draft.turn?.answer ?? null;
  const before = draft.base?.interaction;
  const seconds = Math.max(0, work.document.active_seconds - draft.since);
  return {
    ...before,
    prompts: [...(before?.prompts ?? []), ...draft.events],
    created: before?.created ?? draft.created,
    modified: now,
    active_seconds: round(seconds + (before?.active_seconds ?? 0), 2),
    chosen: answer === null ? (before?.chosen ?? null) : answer.masks.length > 1 ? shownIndex(draft) : null,
    model: answer?.model ?? before?.model ?? null,
  };
}

/**
 * The draft's mask joins the list, or takes the place of the one it began from.
 *
 * @param stability score of the model's mask that was taken; 1 for masks no model made.
 */
export function accepted(work: Work, mask: Bitmap, stability: number, now: string): Work {
  const { draft, document } = work;
  if (draft === null || mask.data.length === 0) return work;
  const answer = draft.turn?.answer ?? null;
  const index = shownIndex(draft);
  const points = draft.events.filter((event) => event.kind === "point");
  const annotation: Annotation = {
    ...(draft.base ?? { id: nextId(document.annotations), predicted_iou: 1, stability_score: 1 }),
    ...maskKeys(mask, document.image),
    ...(answer && {
      predicted_iou: answer.predictedIou[index]!,
      stability_score: stability,
      output_index: answer.tokens[index]!,
    }),
    point_coords: [
      ...(draft.base?.point_coords ?? []),
      ...points.map((point) => [point.x, point.y] as const),
    ],
    source: answer || draft.base?.source === "model" ? "model" : "manual",
    interaction: interactionOf(draft, work, now),
    view: draft.base?.view ?? { colour: newColour(document), hidden: false },
  };
  const annotations = draft.base
    ? document.annotations.map((other) => (other.id === annotation.id ? annotation : other))
    : [...document.annotations, annotation];
  return { ...withDocument(work, { annotations }, now), draft: null };
}

/** The first colour that no mask has. */
export function newColour(document: AnnotationDocument): string {
  const taken = new Set(document.annotations.map((annotation) => annotation.view?.colour));
  for (let index = 0; ; index++) {
    const colour = distinctColour(index);
    if (!taken.has(colour) || index > taken.size) return colour;
  }
}

export function withFound(work: Work, found: readonly FoundMask[] | null): Work {
  return { ...work, found: found !== null && found.length > 0 ? found : null };
}

/** Found masks join the list as they are. */
export function picked(work: Work, indices: readonly number[], model: string, now: string): Work {
  if (work.found === null) return work;
  let { document } = work;
  for (const index of indices) {
    const found = work.found[index];
    if (found === undefined) continue;
    const annotation = automatic(found, document, model, now);
    document = { ...document, annotations: [...document.annotations, annotation], modified: now };
  }
  const left = work.found.filter((_, i) => !indices.includes(i));
  return withFound({ ...work, document }, left);
}

function automatic(found: FoundMask, document: AnnotationDocument, model: string, now: string): Annotation {
  const { width, height } = document.image;
  return {
    id: nextId(document.annotations),
    segmentation: found.segmentation,
    area: found.area,
    bbox: found.bbox,
    predicted_iou: found.predicted_iou,
    point_coords: found.point_coords,
    stability_score: found.stability_score,
    crop_box: [0, 0, width, height],
    output_index: found.output_index,
    source: "automatic",
    interaction: {
      prompts: [{ kind: "everything", at: now }],
      created: now,
      modified: now,
      active_seconds: 0,
      chosen: null,
      model,
    },
    view: { colour: newColour(document), hidden: false },
  };
}

/** Change one accepted mask. */
export function changed(
  work: Work,
  id: number,
  change: (annotation: Annotation) => Annotation,
  now: string,
): Work {
  const annotations = work.document.annotations.map((annotation) =>
    annotation.id === id ? touched(change(annotation), now) : annotation,
  );
  return withDocument(work, { annotations }, now);
}

function touched(annotation: Annotation, now: string): Annotation {
  return { ...annotation, interaction: { ...annotation.interaction, modified: now } };
}

export function renamed(work: Work, id: number, label: string, now: string): Work {
  const name = label.trim();
  return changed(
    work,
    id,
    (annotation) => {
      const { label: _label, ...rest } = annotation;
      return name === "" ? rest : { ...rest, label: name };
    },
    now,
  );
}

const viewOf = (annotation: Annotation) =>
  annotation.view ?? { colour: distinctColour(annotation.id), hidden: false };

export function recoloured(work: Work, id: number, colour: string, now: string): Work {
  return changed(work, id, (one) => ({ ...one, view: { ...viewOf(one), colour } }), now);
}

export function hidden(work: Work, ids: readonly number[], isHidden: boolean, now: string): Work {
  const annotations = work.document.annotations.map((one) =>
    ids.includes(one.id) ? { ...one, view: { ...viewOf(one), hidden: isHidden } } : one,
  );
  return withDocument(work, { annotations }, now);
}

export function removed(work: Work, id: number, now: string): Work {
  const annotations = work.document.annotations.filter((annotation) => annotation.id !== id);
  return withDocument(work, { annotations }, now);
}

/** A document from a file takes this photo's place: its masks are added, numbered anew where numbers meet. */
export function imported(work: Work, other: AnnotationDocument, now: string): Work {
  let annotations = [...work.document.annotations];
  const same = new Set(annotations.map((one) => `${one.id} ${one.segmentation.counts}`));
  for (const one of other.annotations) {
    if (same.has(`${one.id} ${one.segmentation.counts}`)) continue;
    const taken = annotations.some((mine) => mine.id === one.id);
    annotations = [...annotations, taken ? { ...one, id: nextId(annotations) } : one];
  }
  const active_seconds = Math.max(work.document.active_seconds, other.active_seconds);
  const { format: _format, image: _image, annotations: _annotations, ...rest } = other;
  return withDocument(work, { ...rest, annotations, active_seconds }, now);
}

export function colourOf(annotation: Annotation): string {
  return viewOf(annotation).colour;
}

export function isHidden(annotation: Annotation): boolean {
  return annotation.view?.hidden ?? false;
}

function round(value: number, digits: number): number {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}
