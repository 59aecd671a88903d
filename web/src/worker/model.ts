// The promptable model in the page: photo → embedding → masks. Encoder and decoder parts are separate files, so a model
// whose encoder is too large for a browser still decodes here, with embeddings from the service.

import type { InferenceSession, Tensor } from "onnxruntime-web";
import { type Frame, frameOf, type Point, type Size } from "../core/frames";
import { decoderPoints, type Prompt, tokensToShow } from "../core/prompt";
import type { Pixels } from "../core/resize";
import { resizeLongestSide, toModelInput } from "../core/resize";
import { previewSize, Upscaler } from "../core/upscale";
import { type Decoded, KEPT_PHOTOS } from "./protocol";
import type { Runtime } from "./runtime";

type Feeds = Record<string, Tensor>;

interface Prepared {
  readonly frame: Frame;
  readonly features: Tensor;
  /** What clicks need of the photo when no mask is hinted at; made on the first click. */
  image: Feeds | null;
}

export interface Outputs {
  readonly lowRes: Float32Array;
  readonly predictedIou: Float32Array;
}

export class PageModel {
  private readonly photos = new Map<string, Prepared>();
  private encoder: InferenceSession | null = null;

  private constructor(
    readonly runtime: Runtime,
    private readonly imagePart: InferenceSession | null,
    private readonly clickPart: InferenceSession,
  ) {}

  static async open(runtime: Runtime, withEncoder: boolean): Promise<PageModel> {
    const split = runtime.has("decoder_image") && runtime.has("decoder_click");
    const imagePart = split ? await runtime.session("decoder_image") : null;
    const model = new PageModel(
      runtime,
      imagePart,
      await runtime.session(split ? "decoder_click" : "decoder"),
    );
    if (withEncoder) model.encoder = await runtime.session("encoder");
    if (withEncoder && runtime.usesGpu) await model.tryOut();
    return model;
  }

  /** Encode nothing once: a GPU builds its programs now, and one that cannot do it shows before it is relied on. */
  private async tryOut(): Promise<void> {
    const { canvas } = this.info;
    const out = await this.run(new Float32Array(3 * canvas * canvas));
    if (!out.every(Number.isFinite)) throw new Error("expected numbers from the GPU; got others.");
  }

  private async run(input: Float32Array): Promise<Float32Array> {
    const encoder = this.encoder!;
    const { canvas } = this.info;
    const pixels = this.runtime.floats(input, [1, 3, canvas, canvas]);
    const out = await encoder.run({ [encoder.inputNames[0]!]: pixels });
    return new Float32Array((await out[encoder.outputNames[0]!]!.getData()) as Float32Array);
  }

  private get info() {
    return this.runtime.manifest;
  }

  has(key: string): boolean {
    return this.photos.has(key);
  }

  frame(key: string): Frame {
    return this.prepared(key).frame;
  }

  /** Encode a photo here. */
  async encode(key: string, photo: Pixels): Promise<void> {
    if (this.encoder === null) this.encoder = await this.runtime.session("encoder");
    const { canvas, low_res, pixel_mean, pixel_std } = this.info;
    const frame = frameOf({ width: photo.width, height: photo.height }, canvas, low_res);
    const input = toModelInput(resizeLongestSide(photo, canvas), frame, pixel_mean, pixel_std);
    this.keep(key, frame, await this.run(input));
  }

  /** Take an embedding (C, g, g) that was made elsewhere. */
  keep(key: string, frame: Frame, features: Float32Array): void {
    const { channels, grid } = this.info.embedding;
    if (features.length !== channels * grid * grid) {
      throw new Error(
        `an embedding must hold ${channels} x ${grid} x ${grid} numbers; got ${features.length}.`,
      );
    }
    this.photos.delete(key);
    this.photos.set(key, {
      frame,
      features: this.runtime.floats(features, [1, channels, grid, grid]),
      image: null,
    });
    for (const old of this.photos.keys()) {
      if (this.photos.size <= KEPT_PHOTOS) break;
      this.photos.delete(old);
    }
  }

  /** Every output token's logits and predicted IoU for one prompt. */
  async outputs(key: string, prompt: Prompt): Promise<Outputs> {
    const photo = this.prepared(key);
    const { coords, labels } = decoderPoints(prompt, photo.frame);
    const points: Feeds = {
      point_coords: this.runtime.floats(coords, [1, labels.length, 2]),
      point_labels: this.runtime.floats(labels, [1, labels.length]),
    };
    const feeds =
      this.imagePart === null
        ? {
            ...this.embedded(photo, prompt.hint),
            orig_im_size: this.runtime.floats(Float32Array.of(1, 1), [2]),
          }
        : await this.seen(photo, prompt.hint);
    const out = await this.clickPart.run(only(this.clickPart, { ...feeds, ...points }));
    return {
      lowRes: (out.low_res_masks ?? out[this.clickPart.outputNames[0]!]!).data as Float32Array,
      predictedIou: (out.iou_predictions ?? out[this.clickPart.outputNames[1]!]!).data as Float32Array,
    };
  }

  /** The masks that the paper's rule shows. */
  async decode(key: string, prompt: Prompt, limit: number, which: "best" | "all"): Promise<Decoded> {
    const start = performance.now();
    const { lowRes, predictedIou } = await this.outputs(key, prompt);
    const milliseconds = performance.now() - start;
    const { frame } = this.prepared(key);
    const tokens = tokensToShow(prompt, predictedIou.length);
    const iou = tokens.map((token) => predictedIou[token]!);
    const best = iou.indexOf(Math.max(...iou));
    const area = frame.lowRes * frame.lowRes;
    const logits = tokens.map((token) => lowRes.slice(token * area, (token + 1) * area));
    const size: Size = limit > 0 ? previewSize(frame.original, limit) : frame.original;
    const upscaler = new Upscaler(frame, size);
    const masks = logits.map((own, i) =>
      which === "all" || i === best ? upscaler.mask(own, this.info.mask_threshold) : null,
    );
    return { tokens, predictedIou: iou, best, lowRes: logits, masks, size, milliseconds };
  }

  /** Logits of one click in the photo, for the sweep. */
  click(key: string, point: Point): Promise<Outputs> {
    return this.outputs(key, { points: [{ ...point, label: 1 }], box: null, hint: null });
  }

  private prepared(key: string): Prepared {
    const photo = this.photos.get(key);
    if (photo === undefined)
      throw new Error("the photo must be encoded before it is decoded; open it again.");
    return photo;
  }

  private embedded(photo: Prepared, hint: Float32Array | null): Feeds {
    const side = photo.frame.lowRes;
    return {
      image_embeddings: photo.features,
      mask_input: this.runtime.floats(hint ?? new Float32Array(side * side), [1, 1, side, side]),
      has_mask_input: this.runtime.floats(Float32Array.of(hint === null ? 0 : 1), [1]),
    };
  }

  private async seen(photo: Prepared, hint: Float32Array | null): Promise<Feeds> {
    if (hint === null && photo.image !== null) return photo.image;
    const out = (await this.imagePart!.run(this.embedded(photo, hint))) as Feeds;
    if (hint === null) photo.image = out;
    return out;
  }
}

function only(session: InferenceSession, feeds: Feeds): Feeds {
  return Object.fromEntries(session.inputNames.map((name) => [name, feeds[name]!]));
}
