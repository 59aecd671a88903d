// Whatever turns prompts into masks: the model in the worker, the service, or both. What fails in the page is done by
// the service where there is one.

import type { Bitmap } from "../core/bitmap";
import type { Size } from "../core/frames";
import type { Prompt } from "../core/prompt";
import { type FoundMask, REFERENCE_KNOBS, type SweepKnobs } from "../core/sweep";
import type { Answer } from "../core/work";
import type { Service, ServiceModel } from "../service/service";
import { WorkerClient } from "../worker/client";
import {
  type Backend,
  type Calls,
  type Decoded,
  KEPT_PHOTOS,
  type ModelInfo,
  type StartOptions,
} from "../worker/protocol";

export type Place = "page" | "service";

export interface Choice {
  /** Name of the model. */
  readonly model: string;
  /** Where photos are encoded. */
  readonly encode: Place;
}

export interface EngineInfo {
  /** What the service, or the folder beside the page, calls the model. */
  readonly name: string;
  readonly model: ModelInfo;
  readonly encode: Place;
  readonly decode: Place;
  readonly backend: Backend | "none";
  readonly threads: number;
}

/** A photo as the engine needs it. */
export interface EnginePhoto extends Size {
  readonly key: string;
  readonly file: Blob;
}

/** A backend that takes longer to start is given up. */
const START_MS: Readonly<Record<Backend, number>> = { wasm: 45_000, webgpu: 12_000 };
const MOST_THREADS = 4;
/** Longest side of the masks under the pointer. */
const PREVIEW_SIDE = 1024;

export interface Offer {
  readonly service: Service | null;
  readonly models: readonly string[];
  readonly standard: string;
  readonly serviceModels: readonly ServiceModel[];
}

const pageFolder = (model: string) => new URL(`models/${encodeURIComponent(model)}/`, document.baseURI).href;

/** What this page can work with: the service's models, or those beside the page. */
export async function findOffer(service: Service | null): Promise<Offer> {
  if (service === null) {
    const name = new URLSearchParams(location.search).get("model") ?? "tiny";
    return { service: null, models: [name], standard: name, serviceModels: [] };
  }
  const serviceModels = await service.models();
  const standard = serviceModels.find((model) => model.default) ?? serviceModels[0]!;
  return {
    service,
    models: serviceModels.map((model) => model.name),
    standard: standard.name,
    serviceModels,
  };
}

async function withTimeout<T>(work: Promise<T>, milliseconds: number, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`${what} took longer than ${milliseconds / 1000} s`)),
      milliseconds,
    );
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

interface Adapter {
  readonly isFallbackAdapter?: boolean;
  readonly info?: { readonly isFallbackAdapter?: boolean };
}

/** Whether there is a real GPU: one that is emulated is far slower than WebAssembly. */
async function hasGpu(): Promise<boolean> {
  const { gpu } = navigator as { gpu?: { requestAdapter(): Promise<Adapter | null> } };
  if (gpu === undefined) return false;
  try {
    const adapter = await withTimeout(gpu.requestAdapter(), 1000, "the GPU");
    return adapter !== null && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter ?? false);
  } catch {
    return false;
  }
}

const freshWorker = () =>
  new WorkerClient(
    new Worker(new URL("../worker/worker.ts", import.meta.url), { type: "module", name: "model" }),
  );

export class Engine {
  private readonly prepared = new Map<string, Promise<void>>();

  private constructor(
    private readonly offer: Offer,
    private readonly worker: WorkerClient,
    readonly info: EngineInfo,
  ) {}

  /** The best way of running a model that works here; every way that fails leaves the next. */
  static async start(offer: Offer, choice: Choice): Promise<Engine> {
    const threads = crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS) : 1;
    const encode = offer.service === null ? "page" : choice.encode;
    const ways: { backend: Backend; threads: number }[] = [{ backend: "wasm", threads }];
    if (threads > 1) ways.push({ backend: "wasm", threads: 1 });
    if (encode === "page" && (await hasGpu())) ways.unshift({ backend: "webgpu", threads });
    const failures: string[] = [];
    const folder = offer.service?.modelFolder(choice.model) ?? pageFolder(choice.model);
    // A service may have to make the files first, which takes as long as it takes; only starting them is timed.
    if (offer.service !== null) await fetch(new URL("manifest.json", folder)).catch(() => null);
    for (const way of ways) {
      const options: StartOptions = {
        ...way,
        model: folder,
        runtime: new URL("ort/", document.baseURI).href,
        encoder: encode === "page",
        headers: {},
      };
      const worker = freshWorker();
      try {
        const model = await withTimeout(
          worker.call("start", options),
          START_MS[way.backend],
          "starting the model",
        );
        return new Engine(offer, worker, { name: choice.model, model, encode, decode: "page", ...way });
      } catch (error) {
        worker.close();
        failures.push(`${way.backend}, ${way.threads} threads: ${(error as Error).message}`);
      }
    }
    if (offer.service === null) throw new Error(failures.at(-1));
    console.warn("the model does not run in the page; the service does it instead", failures);
    const known = await offer.service.model(choice.model);
    const info: EngineInfo = {
      name: choice.model,
      model: infoOf(known),
      encode: "service",
      decode: "service",
      backend: "none",
      threads: 0,
    };
    return new Engine(offer, freshWorker(), info);
  }

  close(): void {
    this.worker.close();
  }

  /** Encode a photo, once; the promise is shared by all who ask. */
  prepare(photo: EnginePhoto): Promise<void> {
    const ready = this.prepared.get(photo.key) ?? this.encode(photo);
    // The newest stand last; what the worker has let go by now is forgotten here too.
    this.prepared.delete(photo.key);
    this.prepared.set(photo.key, ready);
    for (const old of this.prepared.keys()) {
      if (this.prepared.size <= KEPT_PHOTOS) break;
      this.prepared.delete(old);
    }
    ready.catch(() => this.prepared.delete(photo.key));
    return ready;
  }

  private async encode(photo: EnginePhoto): Promise<void> {
    const { key, file } = photo;
    const start = performance.now();
    if (this.info.decode === "service") {
      await this.offer.service!.embedding(key, file, this.info.name);
    } else if (this.info.encode === "service") {
      const { features, original } = await this.offer.service!.embedding(key, file, this.info.name);
      await this.worker.call("embedding", { key, features, original }, { transfer: [features.buffer] });
    } else {
      const { milliseconds } = await this.worker.call("encode", { key, photo: file });
      if (milliseconds !== null) performance.measure("segany:encode", { start, duration: milliseconds });
    }
    performance.measure("segany:prepare", { start, end: performance.now() });
  }

  private async decode(
    photo: EnginePhoto,
    prompt: Prompt,
    size: number,
    which: "best" | "all",
  ): Promise<Decoded> {
    await this.prepare(photo);
    const start = performance.now();
    const decoded =
      this.info.decode === "service"
        ? await this.offer.service!.decode(photo.key, photo.file, this.info.name, prompt)
        : await this.decodeHere(photo, { key: photo.key, prompt, size, which });
    performance.measure(size > 0 ? "segany:preview" : "segany:click", { start, end: performance.now() });
    if (decoded.milliseconds !== null) {
      performance.measure("segany:decode", { start, duration: decoded.milliseconds });
    }
    return decoded;
  }

  /** After a long time away the worker may have let the photo go: it is made ready again. */
  private async decodeHere(photo: EnginePhoto, input: Calls["decode"]["in"]): Promise<Decoded> {
    const decoded = await this.worker.call("decode", input);
    if (decoded !== null) return decoded;
    this.prepared.delete(photo.key);
    await this.prepare(photo);
    const again = await this.worker.call("decode", input);
    if (again === null) throw new Error("expected the photo to stay ready; it did not. Open it again.");
    return again;
  }

  /** The mask under the pointer, small and quick. */
  async preview(photo: EnginePhoto, prompt: Prompt): Promise<{ mask: Bitmap; size: Size } | null> {
    const { masks, best, size } = await this.decode(photo, prompt, PREVIEW_SIDE, "best");
    const mask = masks[best];
    return mask ? { mask, size } : null;
  }

  /** The candidates of a prompt at the photo's size. */
  async answer(photo: EnginePhoto, prompt: Prompt): Promise<Answer> {
    const decoded = await this.decode(photo, prompt, 0, "all");
    const { tokens, predictedIou, best, lowRes } = decoded;
    const masks = decoded.masks as readonly Bitmap[];
    return { tokens, predictedIou, best, lowRes, masks, model: this.info.model.fingerprint };
  }

  /** Share of a mask that survives moving the threshold by one logit; 1 when its logits are not known. */
  async stability(photo: Size, logits: Float32Array): Promise<number> {
    if (logits.length === 0) return 1;
    const original = { width: photo.width, height: photo.height };
    return this.worker.call("stability", { info: this.info.model, original, logits });
  }

  /** A mask of the photo as the model's hint. */
  hint(photo: Size, mask: Bitmap): Promise<Float32Array> {
    const original = { width: photo.width, height: photo.height };
    return this.worker.call("hint", { info: this.info.model, original, mask });
  }

  /** Everything in the photo, in the page or as a job of the service. */
  async everything(
    photo: EnginePhoto,
    perSide: number,
    progress: (done: number, total: number) => void,
    signal: AbortSignal,
  ): Promise<FoundMask[]> {
    const { service } = this.offer;
    const start = performance.now();
    let found: FoundMask[];
    if (service !== null && this.info.encode === "service") {
      const knobs = { points_per_side: perSide };
      found = await service.everything(photo.key, photo.file, this.info.name, knobs, progress, signal);
    } else {
      await this.prepare(photo);
      const knobs: SweepKnobs = {
        ...REFERENCE_KNOBS,
        ...this.info.model.automatic,
        points_per_side: perSide,
      };
      found = await this.worker.call("everything", { key: photo.key, knobs }, { progress, signal });
    }
    performance.measure("segany:everything", { start, end: performance.now() });
    return found;
  }
}

/** A service's model in the manifest's words. */
function infoOf(model: ServiceModel): ModelInfo {
  const canvas = model.canvas ?? 1024;
  const lowRes = model.low_res ?? 256;
  return {
    model: model.name,
    fingerprint: model.fingerprint ?? "",
    canvas,
    low_res: lowRes,
    embedding: { channels: model.channels ?? 256, grid: lowRes / 4 },
    pixel_mean: model.pixel_mean ?? [0, 0, 0],
    pixel_std: model.pixel_std ?? [1, 1, 1],
    mask_threshold: model.mask_threshold ?? 0,
    multimask_outputs: 3,
  };
}
