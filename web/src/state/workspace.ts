// The page's own project: photos in a film strip, the one that is open, the engine, and keeping it all.

import { signal } from "@preact/signals";
import { type AnnotationDocument, FORMAT, readDocument } from "../core/document";
import { imported, newWork, type Work } from "../core/work";
import { type Service, ServiceError } from "../service/service";
import { Annotator } from "./annotator";
import { Engine, findOffer, type Offer } from "./engine";
import { announce, note, sayError } from "./messages";
import { freshWork, Picture, pictureOf, readPhoto } from "./photos";
import { chosenModel, encodePlace } from "./preferences";
import { Storage, type StoredPhoto } from "./storage";

export interface PhotoEntry {
  readonly photo: StoredPhoto;
  readonly thumbnail: string | null;
  readonly masks: number;
}

export interface Open {
  readonly annotator: Annotator;
  readonly picture: Picture;
}

export type EngineStatus =
  | { readonly kind: "starting" }
  | { readonly kind: "ready" }
  | { readonly kind: "token" }
  | { readonly kind: "failed"; readonly message: string };

export const SAMPLES = [
  { file: "cat.jpg", name: "Cat", credit: "Stéfan van der Walt, CC0" },
  { file: "coffee.jpg", name: "Coffee", credit: "Rachel Michetti, CC0" },
  { file: "astronaut.jpg", name: "Astronaut", credit: "NASA, public domain" },
] as const;

const LAST = "segany.last";

export class Workspace {
  readonly photos = signal<readonly PhotoEntry[]>([]);
  readonly open = signal<Open | null>(null);
  readonly isLoaded = signal(false);
  readonly offer = signal<Offer | null>(null);
  readonly engine = signal<Engine | null>(null);
  readonly status = signal<EngineStatus>({ kind: "starting" });
  private opening = 0;

  private constructor(
    readonly storage: Storage,
    private readonly service: Service | null,
  ) {}

  static async start(service: Service | null): Promise<Workspace> {
    const workspace = new Workspace(await Storage.open(), service);
    void workspace.startEngine();
    await workspace.load();
    return workspace;
  }

  private async load(): Promise<void> {
    const photos = await this.storage.photos();
    const documents = new Map((await this.storage.documents()).map((one) => [one.image.sha256, one]));
    this.photos.value = photos.map((photo) => entryOf(photo, documents.get(photo.key)));
    const last = localStorage.getItem(LAST);
    const first = photos.find((photo) => photo.key === last) ?? photos[0];
    if (first) await this.show(first.key);
    this.isLoaded.value = true;
  }

  // Engine -----------------------------------------------------------------------------------------------------------

  async startEngine(): Promise<void> {
    this.status.value = { kind: "starting" };
    this.engine.value?.close();
    this.engine.value = null;
    try {
      const offer = await findOffer(this.service);
      this.offer.value = offer;
      const model = offer.models.includes(chosenModel.value) ? chosenModel.value : offer.standard;
      this.engine.value = await Engine.start(offer, { model, encode: encodePlace.value });
      this.status.value = { kind: "ready" };
      performance.measure("segany:ready", { start: 0, end: performance.now() });
      await this.open.value?.annotator.prepare();
    } catch (error) {
      const needsToken = error instanceof ServiceError && error.status === 401;
      const message = error instanceof Error ? error.message : String(error);
      this.status.value = needsToken ? { kind: "token" } : { kind: "failed", message };
      if (!needsToken) announce(`The model could not be started: ${message}`);
    }
  }

  /** Try again with the token a person typed. */
  async useToken(token: string): Promise<void> {
    this.service?.setToken(token);
    await this.startEngine();
  }

  // Photos -----------------------------------------------------------------------------------------------------------

  /** Open dropped, pasted or chosen files: photos, and annotation documents as JSON. */
  async openFiles(files: Iterable<File>): Promise<void> {
    let first: string | null = null;
    for (const file of files) {
      try {
        const isJson = file.type === "application/json" || file.name.toLowerCase().endsWith(".json");
        const key = isJson ? await this.openDocuments(file) : await this.addPhoto(file);
        first ??= key;
      } catch (error) {
        sayError(error);
      }
    }
    if (first !== null && first !== this.open.value?.annotator.photo.key) await this.show(first);
  }

  private async addPhoto(file: File): Promise<string> {
    const photo = await readPhoto(file, Date.now());
    if (this.photos.value.some((entry) => entry.photo.key === photo.key)) return photo.key;
    await this.storage.addPhoto(photo);
    const work = await this.storage.work(photo.key);
    this.photos.value = [...this.photos.value, entryOf(photo, work?.document)];
    return photo.key;
  }

  private async openDocuments(file: File): Promise<string | null> {
    let parsed: unknown;
    try {
      parsed = JSON.parse(await file.text());
    } catch {
      throw new Error(`${file.name} must be JSON; it cannot be read. Export it again.`);
    }
    const documents = Array.isArray(parsed) ? parsed : [parsed];
    let key: string | null = null;
    for (const value of documents) {
      if ((value as { format?: unknown } | null)?.format !== FORMAT) {
        throw new Error(
          `${file.name} must be an annotation document ("format": "${FORMAT}"); it is something else. ` +
            "Choose a file that was exported as annotations.",
        );
      }
      const document = readDocument(value, new Date().toISOString());
      await this.importDocument(document);
      if (this.photos.value.some((entry) => entry.photo.key === document.image.sha256)) {
        key ??= document.image.sha256;
      }
    }
    return key;
  }

  private async importDocument(document: AnnotationDocument): Promise<void> {
    const key = document.image.sha256;
    const { file_name } = document.image;
    const open = this.open.value;
    if (open?.annotator.photo.key === key) {
      open.annotator.importDocument(document);
    } else {
      const work: Work = (await this.storage.work(key)) ?? newWork({ ...document, annotations: [] });
      await this.storage.save(key, imported(work, document, new Date().toISOString()));
    }
    this.recount(key, document.annotations.length);
    const isHere = this.photos.value.some((entry) => entry.photo.key === key);
    note(
      isHere
        ? `Masks of ${file_name} imported.`
        : `Masks of ${file_name} are kept: open the photo to see them.`,
    );
  }

  async openSample(file: string): Promise<void> {
    try {
      const response = await fetch(new URL(`samples/${file}`, document.baseURI));
      if (!response.ok)
        throw new Error(`expected a sample photo; got ${response.status}. Open one of your own.`);
      await this.openFiles([new File([await response.blob()], file, { type: "image/jpeg" })]);
    } catch (error) {
      sayError(error);
    }
  }

  async show(key: string): Promise<void> {
    const entry = this.photos.value.find((other) => other.photo.key === key);
    if (entry === undefined) return;
    const mine = ++this.opening;
    this.closeOpen();
    const { photo } = entry;
    try {
      const picture = new Picture(await pictureOf(photo.file, photo.name));
      const work = (await this.storage.work(key)) ?? freshWork(photo);
      if (mine !== this.opening) {
        picture.close();
        return;
      }
      const save = (next: Work) => {
        this.recount(key, next.document.annotations.length);
        this.storage.save(key, next).catch(sayError);
      };
      const annotator = new Annotator(photo, work, this.engine, save);
      this.open.value = { annotator, picture };
      localStorage.setItem(LAST, key);
      announce(`${photo.name}, ${photo.width} by ${photo.height} pixels.`);
      void annotator.prepare();
    } catch (error) {
      sayError(error);
    }
  }

  private closeOpen(): void {
    this.open.value?.annotator.close();
    this.open.value?.picture.close();
    this.open.value = null;
  }

  step(by: number): void {
    const key = this.open.value?.annotator.photo.key;
    const list = this.photos.value;
    const place = list.findIndex((entry) => entry.photo.key === key);
    const next = list[place + by];
    if (next) void this.show(next.photo.key);
  }

  async removePhoto(key: string): Promise<void> {
    const list = this.photos.value;
    const place = list.findIndex((entry) => entry.photo.key === key);
    if (place < 0) return;
    if (list[place]!.thumbnail) URL.revokeObjectURL(list[place]!.thumbnail);
    const wasOpen = this.open.value?.annotator.photo.key === key;
    if (wasOpen) this.closeOpen();
    this.photos.value = list.filter((entry) => entry.photo.key !== key);
    await this.storage.remove(key);
    const next = this.photos.value[Math.min(place, this.photos.value.length - 1)];
    if (wasOpen && next) await this.show(next.photo.key);
  }

  private recount(key: string, masks: number): void {
    if (this.photos.peek().some((entry) => entry.photo.key === key && entry.masks !== masks)) {
      this.photos.value = this.photos
        .peek()
        .map((entry) => (entry.photo.key === key ? { ...entry, masks } : entry));
    }
  }

  /** Documents of all photos in the strip, the open one as it is now. */
  async documents(): Promise<AnnotationDocument[]> {
    const open = this.open.value?.annotator;
    const documents = await Promise.all(
      this.photos.value.map(async ({ photo }) =>
        open?.photo.key === photo.key
          ? open.work.value.document
          : ((await this.storage.work(photo.key)) ?? freshWork(photo)).document,
      ),
    );
    return documents;
  }
}

function entryOf(photo: StoredPhoto, document: AnnotationDocument | undefined): PhotoEntry {
  const thumbnail = photo.thumbnail ? URL.createObjectURL(photo.thumbnail) : null;
  return { photo, thumbnail, masks: document?.annotations.length ?? 0 };
}
