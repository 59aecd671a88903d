// What the page asks its worker, and what comes back. Arrays are handed over, not copied, where the sender is done.

import type { Bitmap } from "../core/bitmap";
import type { Size } from "../core/frames";
import type { Prompt } from "../core/prompt";
import type { FoundMask, SweepKnobs } from "../core/sweep";

/** What the page needs to know of a model; the part of manifest.json that it reads. */
export interface ModelInfo {
  readonly model: string;
  readonly fingerprint: string;
  readonly canvas: number;
  readonly low_res: number;
  readonly embedding: { readonly channels: number; readonly grid: number };
  readonly pixel_mean: readonly number[];
  readonly pixel_std: readonly number[];
  readonly mask_threshold: number;
  readonly multimask_outputs: number;
  /** Settings that the weights recommend for finding everything. */
  readonly automatic?: Partial<SweepKnobs>;
}

/** Embeddings that the worker keeps, the newest used. */
export const KEPT_PHOTOS = 6;

export type Backend = "webgpu" | "wasm";

export interface StartOptions {
  /** Address of the folder with manifest.json. */
  readonly model: string;
  /** Address of the runtime's own files. */
  readonly runtime: string;
  readonly backend: Backend;
  readonly threads: number;
  /** Whether photos are encoded here, so that the encoder is loaded too. */
  readonly encoder: boolean;
  /** Headers of requests for the model. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Masks of one prompt. */
export interface Decoded {
  /** Output tokens shown, in the decoder's order. */
  readonly tokens: readonly number[];
  readonly predictedIou: readonly number[];
  /** Index of the highest predicted IoU. */
  readonly best: number;
  /** Logits per shown token, for hints; empty when the service kept them. */
  readonly lowRes: readonly Float32Array[];
  /** Masks per shown token at `size`; null where it was not asked for. */
  readonly masks: readonly (Bitmap | null)[];
  readonly size: Size;
  /** What the model took alone, milliseconds; null when the service decoded. */
  readonly milliseconds: number | null;
}

export interface Encoded {
  readonly original: Size;
  /** What the encoder took alone, milliseconds; null when the service encoded. */
  readonly milliseconds: number | null;
}

export interface Calls {
  start: { in: StartOptions; out: ModelInfo };
  encode: { in: { key: string; photo: Blob }; out: Encoded };
  embedding: { in: { key: string; features: Float32Array; original: Size }; out: Encoded };
  /** Null when the photo is not known (any more). `size` limits the masks' longest side; 0 is the photo's own. `which`: the best mask alone, or all that are shown. */
  decode: { in: { key: string; prompt: Prompt; size: number; which: "best" | "all" }; out: Decoded | null };
  stability: { in: { info: ModelInfo; original: Size; logits: Float32Array }; out: number };
  hint: { in: { info: ModelInfo; original: Size; mask: Bitmap }; out: Float32Array };
  everything: { in: { key: string; knobs: SweepKnobs }; out: FoundMask[] };
  cancel: { in: { call: number }; out: null };
}

export type CallName = keyof Calls;

export interface Request<Name extends CallName = CallName> {
  readonly id: number;
  readonly name: Name;
  readonly input: Calls[Name]["in"];
}

export type Reply =
  | { readonly id: number; readonly kind: "done"; readonly value: unknown }
  | { readonly id: number; readonly kind: "failed"; readonly message: string; readonly cancelled: boolean }
  | { readonly id: number; readonly kind: "progress"; readonly done: number; readonly total: number };
