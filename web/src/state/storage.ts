// What the browser keeps: photos and the work on each. A change is handed to the browser in the moment it is made; of
// those made while a write is under way the newest follows as soon as it is done, or when the page is about to go.

import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import type { AnnotationDocument } from "../core/document";
import type { PromptEvent } from "../core/prompt";
import type { FoundMask } from "../core/sweep";
import { newWork, shownIndex, type Turn, type Work } from "../core/work";
import type { Assignment } from "../service/team";

export interface StoredPhoto {
  /** SHA-256 of the file, hex. */
  readonly key: string;
  readonly name: string;
  readonly width: number;
  readonly height: number;
  readonly file: Blob;
  readonly thumbnail: Blob | null;
  /** Order in the film strip. */
  readonly added: number;
}

interface StoredDraft {
  readonly events: readonly PromptEvent[];
  readonly base: number | null;
  /** Events that the model was told of; null when it was not asked. */
  readonly asked: number | null;
  readonly hint: Float32Array | null;
  readonly chosen: number | null;
  readonly created: string;
  readonly since: number;
}

interface StoredWork {
  readonly key: string;
  readonly document: AnnotationDocument;
  readonly draft: StoredDraft | null;
  readonly found: readonly FoundMask[] | null;
}

/** A task of a project that is open here, or that was lost while it was. */
export interface StoredTask {
  /** Of the work too. */
  readonly key: string;
  readonly person: number;
  readonly project: number;
  readonly mode: "annotate" | "review";
  readonly assignment: Assignment;
  readonly state: "open" | "lost";
}

interface Schema extends DBSchema {
  tasks: { key: string; value: StoredTask };
  photos: { key: string; value: StoredPhoto };
  works: { key: string; value: StoredWork };
}

/** The logits a turn is told as a hint, as far as they are known. */
export function hintOf(turn: Turn): Float32Array | null {
  if (turn.hint !== null) return turn.hint;
  if (turn.from === null || !("turn" in turn.from)) return null;
  const answer = turn.from.turn.answer;
  return answer?.lowRes[turn.from.chosen ?? answer.best] ?? null;
}

function stored(key: string, work: Work): StoredWork {
  const { draft } = work;
  return {
    key,
    document: work.document,
    found: work.found,
    draft: draft && {
      events: draft.events,
      base: draft.base?.id ?? null,
      asked: draft.turn?.events.length ?? null,
      hint: draft.turn ? hintOf(draft.turn) : null,
      chosen: draft.turn?.answer ? shownIndex(draft) : draft.chosen,
      created: draft.created,
      since: draft.since,
    },
  };
}

function restored({ document, draft, found }: StoredWork): Work {
  if (draft === null) return { ...newWork(document), found };
  const base = document.annotations.find((annotation) => annotation.id === draft.base) ?? null;
  const from = draft.hint === null && base ? { mask: base.segmentation } : null;
  const turn: Turn | null =
    draft.asked === null
      ? null
      : { events: draft.events.slice(0, draft.asked), from, hint: draft.hint, answer: null };
  const { events, chosen, created, since } = draft;
  return { document, found, draft: { events, base, turn, chosen, created, since } };
}

export class Storage {
  private readonly waiting = new Map<string, Work>();
  private writing: Promise<void> | null = null;

  private constructor(private readonly database: IDBPDatabase<Schema>) {}

  static async open(name = "segany"): Promise<Storage> {
    const database = await openDB<Schema>(name, 2, {
      upgrade(fresh, before) {
        if (before < 1) {
          fresh.createObjectStore("photos", { keyPath: "key" });
          fresh.createObjectStore("works", { keyPath: "key" });
        }
        fresh.createObjectStore("tasks", { keyPath: "key" });
      },
    });
    const storage = new Storage(database);
    if (typeof document !== "undefined") storage.flushBeforeLeaving();
    return storage;
  }

  /** A page that is hidden may be gone without another word. */
  private flushBeforeLeaving(): void {
    const flush = () => void this.flush().catch(() => {}); // nobody is left to be told
    addEventListener("pagehide", flush);
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "hidden") flush();
    });
  }

  async photos(): Promise<StoredPhoto[]> {
    const photos = await this.database.getAll("photos");
    return photos.sort((a, b) => a.added - b.added);
  }

  async addPhoto(photo: StoredPhoto): Promise<void> {
    await this.database.put("photos", photo);
  }

  async work(key: string): Promise<Work | null> {
    const found = await this.database.get("works", key);
    return found ? restored(found) : null;
  }

  async documents(): Promise<AnnotationDocument[]> {
    return (await this.database.getAll("works")).map((work) => work.document);
  }

  /** Tasks of a person, the newest last. */
  async tasks(person: number): Promise<StoredTask[]> {
    return (await this.database.getAll("tasks")).filter((task) => task.person === person);
  }

  async keepTask(task: StoredTask): Promise<void> {
    await this.database.put("tasks", task);
  }

  async removeTask(key: string): Promise<void> {
    await this.remove(key);
    await this.database.delete("tasks", key);
  }

  async remove(key: string): Promise<void> {
    this.waiting.delete(key);
    await this.writing;
    const both = this.database.transaction(["photos", "works"], "readwrite");
    await Promise.all([
      both.objectStore("photos").delete(key),
      both.objectStore("works").delete(key),
      both.done,
    ]);
  }

  /** Save the work on a photo; of several states that wait, only the newest is written. */
  save(key: string, work: Work): Promise<void> {
    this.waiting.set(key, work);
    this.writing ??= this.write();
    return this.writing;
  }

  /** No moment lies between seeing that nothing waits and being open for the next save. */
  private async write(): Promise<void> {
    try {
      do await this.flush();
      while (this.waiting.size > 0);
    } finally {
      this.writing = null;
    }
  }

  /** Hand over all that waits, now. The commit goes along, so that it needs no answer from a page that is gone. */
  private async flush(): Promise<void> {
    if (this.waiting.size === 0) return;
    const values = [...this.waiting].map(([key, work]) => stored(key, work));
    this.waiting.clear();
    const writing = this.database.transaction("works", "readwrite");
    const puts = values.map((value) => writing.store.put(value));
    writing.commit();
    await Promise.all([...puts, writing.done]);
  }

  close(): void {
    this.database.close();
  }
}
