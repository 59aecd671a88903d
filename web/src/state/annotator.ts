// One photo being annotated: its work with undo and redo, the questions to the model, and what is seen meanwhile. It
// knows neither where the photo came from nor where the work is kept, so that other screens can use it too.

import { computed, effect, type Signal, signal } from "@preact/signals";
import { type Activity, worked } from "../core/activity";
import { type Bitmap, bitmapArea, isInside } from "../core/bitmap";
import { nameOf } from "../core/document";
import { type Box, frameOf, type Point, type Size } from "../core/frames";
import { amend, begin, type History, push, redo, undo } from "../core/history";
import { LatestOnly } from "../core/latest";
import { type PromptEvent, promptOf } from "../core/prompt";
import { decodeRle, type Rle } from "../core/rle";
import type { Stroke } from "../core/strokes";
import type { Answer, Turn, Work } from "../core/work";
import * as on from "../core/work";
import { CancelledError } from "../worker/client";
import type { Engine, EnginePhoto } from "./engine";
import { announce, note, sayError } from "./messages";
import { hintOf } from "./storage";

export interface Preview {
  readonly mask: Bitmap;
  /** Size the mask is drawn at; the photo's or smaller. */
  readonly size: Size;
}

/** Masks of answers that undo keeps at hand. */
const MOST_ANSWER_BYTES = 200e6;

const stamp = () => new Date().toISOString();
const percent = (value: number) => `${Math.round(Math.min(Math.max(value, 0), 1) * 100)} %`;

const decodedMasks = new WeakMap<Rle, Bitmap>();

/** The mask of a record, decoded once. */
export function maskOf(rle: Rle): Bitmap {
  let mask = decodedMasks.get(rle);
  if (mask === undefined) {
    mask = decodeRle(rle);
    decodedMasks.set(rle, mask);
  }
  return mask;
}

export class Annotator {
  readonly history: Signal<History<Work>>;
  readonly work = computed(() => this.history.value.present);
  readonly draft = computed(() => this.work.value.draft);
  /** The accepted mask that commands mean. */
  readonly selected = signal<number | null>(null);
  /** Index of the found mask under the pointer. */
  readonly pointed = signal<number | null>(null);
  readonly preview = signal<Preview | null>(null);
  readonly isAsking = signal(false);
  readonly isPreparing = signal(false);
  /** Whether the model knows the photo. */
  readonly isPrepared = signal(false);
  readonly sweep = signal<{ done: number; total: number } | null>(null);
  /** Keyboard's crosshair, and the first corner of a box drawn with it. */
  readonly crosshair = signal<Point | null>(null);
  readonly corner = signal<Point | null>(null);
  private readonly answered = signal(0);
  private activity: Activity;
  private asking: Promise<void> = Promise.resolve();
  private readonly turns: Turn[] = [];
  private sweeping: AbortController | null = null;
  private readonly stopSaving: () => void;
  private readonly hover: LatestOnly<Point, Preview | null>;

  /** The draft's mask at the photo's size. */
  readonly mask = computed<Bitmap | null>(() => {
    void this.answered.value;
    const draft = this.draft.value;
    return draft && on.draftMask(draft, this.photo, maskOf);
  });
  readonly answer = computed<Answer | null>(() => {
    void this.answered.value;
    return this.draft.value?.turn?.answer ?? null;
  });
  readonly canAccept = computed(
    () => this.draft.value !== null && (this.isAsking.value || (this.mask.value?.data.length ?? 0) > 0),
  );

  constructor(
    readonly photo: EnginePhoto & { readonly name: string },
    start: Work,
    private readonly engine: Signal<Engine | null>,
    save: (work: Work) => void,
  ) {
    this.history = signal(begin(start));
    this.activity = { last: null, seconds: start.document.active_seconds };
    this.stopSaving = effect(() => save(this.work.value));
    this.hover = new LatestOnly((point) => this.decodePreview(point));
    this.askAgain();
  }

  /** Let go: nothing is asked or saved any more. */
  close(): void {
    this.stopSaving();
    this.sweeping?.abort();
    this.hover.drop();
  }

  /** Make the photo ready for clicks. */
  async prepare(): Promise<void> {
    const engine = this.engine.value;
    if (engine === null) return;
    this.isPreparing.value = true;
    this.isPrepared.value = false;
    try {
      await engine.prepare(this.photo);
      this.isPrepared.value = true;
      announce("The photo is ready.");
      this.askAgain();
    } catch (error) {
      if (!(error instanceof CancelledError)) sayError(error);
    } finally {
      this.isPreparing.value = false;
    }
  }

  // Steps ------------------------------------------------------------------------------------------------------------

  private tick(): void {
    this.activity = worked(this.activity, Date.now());
  }

  private commit(next: Work): void {
    if (next === this.work.value) return;
    this.tick();
    this.history.value = push(this.history.value, on.withActiveSeconds(next, this.activity.seconds));
  }

  private jump(history: History<Work>): void {
    if (history === this.history.value) return;
    this.tick();
    this.history.value = amend(history, on.withActiveSeconds(history.present, this.activity.seconds));
    this.preview.value = null;
    const ids = this.work.value.document.annotations.map((one) => one.id);
    if (this.selected.value !== null && !ids.includes(this.selected.value)) this.selected.value = null;
    this.askAgain();
  }

  undo(): void {
    this.jump(undo(this.history.value));
    announce("Undone.");
  }

  redo(): void {
    this.jump(redo(this.history.value));
    announce("Done again.");
  }

  // Prompts ----------------------------------------------------------------------------------------------------------

  click(point: Point, label: 0 | 1): void {
    this.say({ kind: "point", ...rounded(point), label, at: stamp() });
  }

  box(xyxy: Box): void {
    const [x0, y0, x1, y1] = xyxy.map((value) => Math.round(value * 100) / 100) as unknown as Box;
    this.say({ kind: "box", xyxy: [x0, y0, x1, y1], at: stamp() });
  }

  stroke({ kind, radius, path }: Stroke): void {
    const base = this.selected.value;
    // A stroke with nothing being made works on the selected mask.
    if (this.draft.value === null && base !== null) this.commit(on.editing(this.work.value, base, stamp()));
    this.say({ kind, radius: Math.round(radius * 100) / 100, path, at: stamp() });
  }

  private say(event: PromptEvent): void {
    this.hover.drop();
    this.commit(on.withEvent(this.work.value, event, stamp()));
    this.askAgain();
  }

  /** Ask for what the present draft waits for. */
  private askAgain(): void {
    const turn = this.draft.value?.turn;
    if (turn && turn.answer === null && this.engine.value !== null) void this.ask(turn);
  }

  private ask(turn: Turn): Promise<void> {
    this.isAsking.value = true;
    const asked = this.asking.then(() => this.answerTurn(turn));
    this.asking = asked.catch(sayError).then(() => {
      if (this.asking === last) this.isAsking.value = false;
    });
    const last = this.asking;
    return last;
  }

  private async answerTurn(turn: Turn): Promise<void> {
    const engine = this.engine.value;
    if (turn.answer !== null || engine === null) return;
    if (turn.from !== null && "turn" in turn.from && turn.hint === null)
      await this.answerTurn(turn.from.turn);
    turn.hint = hintOf(turn);
    if (turn.hint === null && turn.from !== null && "mask" in turn.from) {
      turn.hint = await engine.hint(this.photo, maskOf(turn.from.mask));
    }
    const prompt = promptOf(turn.events, turn.hint);
    if (prompt === null) return;
    turn.answer = await engine.answer(this.photo, prompt);
    this.remember(turn);
    this.preview.value = null;
    this.answered.value++;
    if (this.draft.value?.turn === turn) this.tell(turn.answer);
  }

  /** Answers of long ago are let go; undone back to, they are asked for again, with the same hint. */
  private remember(turn: Turn): void {
    const bytes = (one: Turn) => one.answer?.masks.reduce((sum, mask) => sum + mask.data.length, 0) ?? 0;
    this.turns.push(turn);
    let kept = this.turns.reduce((sum, one) => sum + bytes(one), 0);
    while (kept > MOST_ANSWER_BYTES && this.turns.length > 1) {
      const old = this.turns.shift()!;
      if (old === this.draft.value?.turn) this.turns.push(old);
      else {
        kept -= bytes(old);
        old.answer = null;
      }
    }
  }

  private tell(answer: Answer): void {
    const quality = percent(answer.predictedIou[answer.best]!);
    const choice = answer.masks.length > 1 ? `, ${answer.masks.length} candidates` : "";
    const area = bitmapArea(answer.masks[answer.best]!);
    announce(area === 0 ? "The mask is empty." : `Mask with predicted quality ${quality}${choice}.`);
  }

  /** Everything asked so far is answered. */
  settled(): Promise<void> {
    return this.asking;
  }

  /** The preview follows the pointer; at most one is decoded at a time, and only the newest place counts. */
  point(point: Point | null): void {
    if (
      point === null ||
      this.draft.value !== null ||
      this.work.value.found !== null ||
      this.engine.value === null
    ) {
      this.hover.drop();
      this.preview.value = null;
      return;
    }
    if (this.isPreparing.value) return;
    this.hover.ask(point).then(
      (preview) => {
        if (preview !== null && this.draft.value === null) this.preview.value = preview;
      },
      () => {
        this.preview.value = null;
      },
    );
  }

  private async decodePreview(point: Point): Promise<Preview | null> {
    const prompt = { points: [{ ...point, label: 1 as const }], box: null, hint: null };
    return (await this.engine.value?.preview(this.photo, prompt)) ?? null;
  }

  // Choosing and accepting -------------------------------------------------------------------------------------------

  choose(index: number): void {
    this.commit(on.withChoice(this.work.value, index));
    const { draft } = this.work.value;
    const answer = this.answer.value;
    if (draft && answer && answer.masks.length > 1) {
      const shown = on.shownIndex(draft);
      announce(`Candidate ${shown + 1}, predicted quality ${percent(answer.predictedIou[shown]!)}.`);
    }
  }

  cycle(step: number): void {
    const { draft } = this.work.value;
    const count = this.answer.value?.masks.length ?? 0;
    if (draft !== null && count > 1) this.choose((on.shownIndex(draft) + step + count) % count);
  }

  /** Accept what is being made; while it is still being computed, as soon as it is there. */
  async accept(): Promise<void> {
    const wanted = this.draft.value;
    if (wanted === null) return;
    await this.settled();
    if (this.draft.value !== wanted) return;
    const mask = this.mask.value;
    if (mask === null || mask.data.length === 0) {
      note("There is no mask to accept: it is empty.");
      return;
    }
    const logits = this.answer.value?.lowRes[on.shownIndex(wanted)];
    const stability = (logits && (await this.engine.value?.stability(this.photo, logits))) ?? 1;
    if (this.draft.value !== wanted) return;
    this.tick();
    const before = on.withActiveSeconds(this.work.value, this.activity.seconds);
    this.commit(on.accepted(before, mask, stability, stamp()));
    const one = wanted.base
      ? this.work.value.document.annotations.find((other) => other.id === wanted.base!.id)
      : this.work.value.document.annotations.at(-1);
    if (one) {
      this.selected.value = one.id;
      announce(`Accepted: ${nameOf(one)}.`);
    }
  }

  discard(): void {
    if (this.draft.value === null) return;
    this.commit(on.withoutDraft(this.work.value));
    announce("Discarded.");
  }

  // Masks ------------------------------------------------------------------------------------------------------------

  edit(id: number): void {
    this.commit(on.editing(this.work.value, id, stamp()));
    this.selected.value = id;
  }

  rename(id: number, label: string): void {
    const before = this.work.value.document.annotations.find((one) => one.id === id);
    if (before && (before.label ?? "") !== label.trim())
      this.commit(on.renamed(this.work.value, id, label, stamp()));
  }

  recolour(id: number, colour: string): void {
    this.commit(on.recoloured(this.work.value, id, colour, stamp()));
  }

  nextColour(id: number): void {
    this.recolour(id, on.newColour(this.work.value.document));
  }

  setHidden(ids: readonly number[], isHidden: boolean): void {
    this.commit(on.hidden(this.work.value, ids, isHidden, stamp()));
  }

  remove(id: number): void {
    const { annotations } = this.work.value.document;
    const place = annotations.findIndex((one) => one.id === id);
    const gone = annotations[place];
    if (gone === undefined) return;
    if (this.draft.value?.base?.id === id) this.discard();
    this.commit(on.removed(this.work.value, id, stamp()));
    const left = this.work.value.document.annotations;
    this.selected.value = left[Math.min(place, left.length - 1)]?.id ?? null;
    announce(`Deleted: ${nameOf(gone)}.`);
  }

  importDocument(document: Parameters<typeof on.imported>[1]): void {
    this.commit(on.imported(this.work.value, document, stamp()));
  }

  /** The smallest visible mask at a point. */
  maskAt(point: Point): number | null {
    const hits = this.work.value.document.annotations
      .filter((one) => !on.isHidden(one) && isInside(maskOf(one.segmentation), point.x, point.y))
      .sort((a, b) => a.area - b.area);
    return hits[0]?.id ?? null;
  }

  // Everything -------------------------------------------------------------------------------------------------------

  async everything(perSide: number): Promise<void> {
    const engine = this.engine.value;
    if (engine === null || this.sweep.value !== null) return;
    this.discard();
    this.preview.value = null;
    const control = new AbortController();
    this.sweeping = control;
    this.sweep.value = { done: 0, total: perSide * perSide };
    announce("Looking for everything.");
    try {
      const found = await engine.everything(
        this.photo,
        perSide,
        (done, total) => {
          this.sweep.value = { done, total };
        },
        control.signal,
      );
      this.commit(on.withFound(this.work.value, found));
      if (found.length === 0) note("Nothing was found. Try a finer grid, or click on things yourself.");
      announce(`Found ${found.length} masks. Click on those to keep.`);
    } catch (error) {
      if (!control.signal.aborted) sayError(error);
    } finally {
      this.sweep.value = null;
      this.sweeping = null;
    }
  }

  cancelEverything(): void {
    this.sweeping?.abort();
    announce("Stopped.");
  }

  /** Index of the smallest found mask at a point. */
  foundAt(point: Point): number | null {
    const found = this.work.value.found ?? [];
    let best: number | null = null;
    found.forEach((one, i) => {
      const isSmaller = best === null || one.area < found[best]!.area;
      if (isSmaller && isInside(maskOf(one.segmentation), point.x, point.y)) best = i;
    });
    return best;
  }

  pick(indices: readonly number[]): void {
    const model = this.engine.value?.info.model.fingerprint ?? "";
    this.commit(on.picked(this.work.value, indices, model, stamp()));
    this.pointed.value = null;
    this.selected.value = this.work.value.document.annotations.at(-1)?.id ?? null;
    announce(indices.length === 1 ? "Kept." : `Kept ${indices.length} masks.`);
  }

  pickAll(): void {
    this.pick((this.work.value.found ?? []).map((_, i) => i));
  }

  dropFound(index: number | null): void {
    const found = this.work.value.found ?? [];
    this.commit(on.withFound(this.work.value, index === null ? null : found.filter((_, i) => i !== index)));
    this.pointed.value = null;
  }

  /** How the photo lies on the model's canvas, for those who show it. */
  get frame() {
    const info = this.engine.value?.info.model;
    return info ? frameOf(this.photo, info.canvas, info.low_res) : null;
  }
}

function rounded({ x, y }: Point): Point {
  return { x: Math.round(x * 100) / 100, y: Math.round(y * 100) / 100 };
}
