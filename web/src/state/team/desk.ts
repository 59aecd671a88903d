// A person's place in a project: the task that is open, kept alive and kept in the browser, until it is handed in.

import { computed, signal } from "@preact/signals";
import { type Annotation, type AnnotationDocument, newDocument, readDocument } from "../../core/document";
import { newWork, type Work } from "../../core/work";
import { ServiceError } from "../../service/service";
import type { Assignment, Project, TaskImage } from "../../service/team";
import { Annotator } from "../annotator";
import { announce, note } from "../messages";
import { Picture, pictureOf } from "../photos";
import type { StoredTask } from "../storage";
import { Ahead } from "./ahead";
import type { Crew } from "./crew";

export type Mode = "annotate" | "review";

export interface OpenTask {
  readonly assignment: Assignment;
  readonly annotator: Annotator;
  readonly picture: Picture;
}

export type DeskState =
  | { readonly kind: "fetching" | "working" | "sending" | "empty" }
  | { readonly kind: "failed"; readonly message: string };

/** Somebody who has not touched anything for so long is taken to be away: their lease may run out. */
const AWAY_MS = 10 * 60_000;

export class Desk {
  readonly state = signal<DeskState>({ kind: "fetching" });
  readonly open = signal<OpenTask | null>(null);
  readonly remaining = signal<number | null>(null);
  readonly done = signal(0);
  /** Work on tasks that went to somebody else meanwhile. */
  readonly lost = signal<readonly StoredTask[]>([]);
  readonly isOffline = signal(false);
  readonly isGuidelineFolded = signal(false);
  /** Whether the masks are not those that were handed in. */
  readonly isChanged = computed(() => {
    const task = this.open.value;
    return task !== null && spell(task.annotator.work.value.document) !== spell(task.assignment.document);
  });
  private readonly ahead: Ahead;
  private beat: ReturnType<typeof setInterval> | undefined;
  private touched = Date.now();
  private readonly end = new AbortController();

  constructor(
    private readonly crew: Crew,
    readonly project: Project,
    readonly mode: Mode,
  ) {
    this.ahead = new Ahead(crew, project);
    for (const name of ["pointerdown", "pointermove", "keydown"] as const) {
      addEventListener(name, () => this.touch(), { signal: this.end.signal, passive: true });
    }
    void this.next();
  }

  close(): void {
    this.end.abort();
    this.ahead.stop();
    this.putAway();
  }

  foldGuideline(): void {
    this.isGuidelineFolded.value = !this.isGuidelineFolded.value;
  }

  private touch(): void {
    this.touched = Date.now();
  }

  private get person(): number {
    return this.crew.person.value?.id ?? 0;
  }

  // Taking ------------------------------------------------------------------------------------------------------------

  /** The next task; the one that is held already, if there is one. */
  async next(): Promise<void> {
    this.putAway();
    this.state.value = { kind: "fetching" };
    try {
      const { team } = this.crew;
      const { id } = this.project;
      const assignment = await (this.mode === "review" ? team.claimReview(id) : team.claim(id));
      await this.findLost(assignment);
      if (assignment === null) {
        this.state.value = { kind: "empty" };
        void this.crew.startEngine(null);
        announce("There is nothing to do at the moment.");
        return;
      }
      await this.show(assignment);
      await this.count();
    } catch (error) {
      this.fail(error);
    }
  }

  private fail(error: unknown): void {
    if (error instanceof ServiceError && error.status === 401) this.crew.say(error);
    const message = error instanceof Error ? error.message : String(error);
    this.state.value = { kind: "failed", message };
    announce(message);
  }

  /** What was open here and is not any more went to somebody else. */
  private async findLost(held: Assignment | null): Promise<void> {
    const mine = (await this.crew.storage.tasks(this.person)).filter((one) => one.mode === this.mode);
    for (const task of mine) {
      const isHeld = held !== null && task.key === keyOf(held, this.mode, this.person);
      if (task.state === "open" && !isHeld && task.project === this.project.id) await this.lose(task);
    }
    await this.countLost();
  }

  /** Work that nobody changed is no loss. */
  private async lose(task: StoredTask): Promise<void> {
    const work = await this.crew.storage.work(task.key);
    if (work === null || spell(work.document) === spell(task.assignment.document)) {
      await this.crew.storage.removeTask(task.key);
    } else await this.crew.storage.keepTask({ ...task, state: "lost" });
  }

  private async countLost(): Promise<void> {
    const mine = await this.crew.storage.tasks(this.person);
    this.lost.value = mine.filter((one) => one.state === "lost" && one.mode === this.mode);
  }

  private async show(assignment: Assignment): Promise<void> {
    const { storage, team, service } = this.crew;
    const { image } = assignment;
    const key = keyOf(assignment, this.mode, this.person);
    const file = await this.ahead.photo(image.id, () => team.photo(image.id));
    const picture = new Picture(await pictureOf(file, image.file_name));
    const start = startOf(assignment);
    const work = (await storage.work(key)) ?? newWork(start);
    await storage.keepTask(this.kept(assignment));
    service.knows(image.key);
    await this.crew.startEngine(assignment.model);
    const { width, height } = picture.size;
    const photo = { key: image.key, name: image.file_name, file, width, height };
    const save = (next: Work) => {
      if (this.open.peek()?.assignment.lease === assignment.lease || this.open.peek() === null)
        storage.save(key, next).catch((error: unknown) => this.crew.say(error));
    };
    const annotator = new Annotator(photo, work, this.crew.engine, save);
    this.open.value = { assignment, annotator, picture };
    this.state.value = { kind: "working" };
    announce(`${image.file_name}, ${width} by ${height} pixels.`);
    this.keepAlive();
    const ready = annotator.prepare();
    if (this.mode === "annotate") void ready.then(() => this.ahead.look(image.id));
  }

  private kept(assignment: Assignment): StoredTask {
    const key = keyOf(assignment, this.mode, this.person);
    return { key, person: this.person, project: this.project.id, mode: this.mode, assignment, state: "open" };
  }

  private async count(): Promise<void> {
    if (this.mode === "annotate") this.remaining.value = await this.ahead.remaining();
  }

  private putAway(): void {
    clearInterval(this.beat);
    const task = this.open.peek();
    this.open.value = null;
    task?.annotator.close();
    task?.picture.close();
  }

  // Keeping alive -----------------------------------------------------------------------------------------------------

  private keepAlive(): void {
    clearInterval(this.beat);
    const seconds = Math.max(1, this.project.settings.heartbeat_seconds);
    this.beat = setInterval(() => void this.live(), seconds * 1000);
  }

  private async live(): Promise<void> {
    const task = this.open.value;
    if (task === null || Date.now() - this.touched > AWAY_MS) return;
    try {
      await this.crew.team.heartbeat(task.assignment);
      this.isOffline.value = false;
    } catch (error) {
      if (isLost(error)) await this.lostIt();
      else if (error instanceof ServiceError && error.status === 401) this.crew.say(error);
      else this.isOffline.value = true;
    }
  }

  /** The task went to somebody else: say so, keep what was made. */
  private async lostIt(): Promise<void> {
    const task = this.open.value;
    if (task === null) return;
    await task.annotator.settled();
    const kept = this.kept(task.assignment);
    await this.crew.storage.save(kept.key, task.annotator.work.value);
    await this.lose(kept);
    await this.countLost();
    note(`The time for ${task.assignment.image.file_name} ran out, and somebody else has it now.`, "error");
    await this.next();
  }

  // Handing in --------------------------------------------------------------------------------------------------------

  /** Everything accepted so far, once nothing is being asked any more. */
  async document(): Promise<AnnotationDocument> {
    const { annotator } = this.open.value!;
    await annotator.settled();
    return annotator.work.value.document;
  }

  /** Send something that ends the task, then take the next one. */
  async finish(send: (assignment: Assignment) => Promise<void>, told: string): Promise<boolean> {
    const task = this.open.value;
    if (task === null || this.state.value.kind !== "working") return false;
    this.state.value = { kind: "sending" };
    try {
      await send(task.assignment);
    } catch (error) {
      this.state.value = { kind: "working" };
      if (isLost(error)) await this.lostIt();
      else this.crew.say(error);
      return false;
    }
    this.done.value++;
    announce(told);
    this.putAway();
    await this.crew.storage.removeTask(keyOf(task.assignment, this.mode, this.person));
    await this.next();
    return true;
  }

  submit(): Promise<boolean> {
    return this.finish(
      async (task) => this.crew.team.submit(task, await this.document()),
      "Handed in. Here is the next image.",
    );
  }

  skip(reason: string): Promise<boolean> {
    const seconds = this.open.value?.annotator.work.value.document.active_seconds ?? 0;
    return this.finish((task) => this.crew.team.skip(task, reason, seconds), "Skipped.");
  }

  /** Accepted as it is, or as the reviewer mended it. */
  accept(): Promise<boolean> {
    return this.finish(async (task) => {
      const document = await this.document();
      const active_seconds = this.seconds(document);
      if (this.isChanged.value) await this.crew.team.review(task, "fix", { document, active_seconds });
      else await this.crew.team.review(task, "accept", { active_seconds });
    }, "Accepted.");
  }

  reject(reason: string): Promise<boolean> {
    return this.finish(async (task) => {
      const active_seconds = this.seconds(await this.document());
      await this.crew.team.review(task, "reject", { reason, active_seconds });
    }, "Sent back.");
  }

  private seconds(document: AnnotationDocument): number {
    const before = this.open.value?.assignment.document?.active_seconds ?? 0;
    return Math.max(0, document.active_seconds - before);
  }

  // What was lost -----------------------------------------------------------------------------------------------------

  async lostDocument(task: StoredTask): Promise<AnnotationDocument | null> {
    return (await this.crew.storage.work(task.key))?.document ?? null;
  }

  async forget(task: StoredTask): Promise<void> {
    await this.crew.storage.removeTask(task.key);
    await this.countLost();
  }
}

function isLost(error: unknown): boolean {
  return error instanceof ServiceError && (error.code === "lease" || error.status === 404);
}

function keyOf(assignment: Assignment, mode: Mode, person: number): string {
  return `${mode}/${person}/${assignment.task}/${assignment.attempt}`;
}

/** What a person may change of the masks, as text to compare. */
function spell(document: AnnotationDocument | null): string {
  const own = ({ id, segmentation, label, attributes }: Annotation) => [
    id,
    segmentation.counts,
    label,
    attributes,
  ];
  return JSON.stringify((document?.annotations ?? []).map(own));
}

function startOf(assignment: Assignment): AnnotationDocument {
  const now = new Date().toISOString();
  if (assignment.document !== null) return readDocument(assignment.document, now);
  return newDocument(imageInfo(assignment.image), now);
}

function imageInfo({ image_id, key, file_name, width, height }: TaskImage) {
  return { image_id, width, height, file_name, sha256: key };
}
