// The worker's side of the protocol: the model, and everything else that would make the page stutter.

import { frameOf, type Size } from "../core/frames";
import { maskToLogits } from "../core/hint";
import { type Candidate, foundMask, gridPoints, Judge, mergeCandidates } from "../core/sweep";
import { Upscaler } from "../core/upscale";
import { PageModel } from "./model";
import { pixelsOf } from "./photo";
import type { CallName, Calls, ModelInfo, Reply, Request } from "./protocol";
import { Runtime } from "./runtime";
import { Turns } from "./turns";

const scope = self as unknown as Worker;
const turns = new Turns();
const cancelled = new Set<number>();
let model: PageModel | null = null;

class Cancelled extends Error {}

function current(): PageModel {
  if (model === null) throw new Error("expected a model to be loaded; there is none yet.");
  return model;
}

function frameFor(info: ModelInfo, original: Size) {
  return frameOf(original, info.canvas, info.low_res);
}

type Handlers = {
  [Name in CallName]: (input: Calls[Name]["in"], id: number) => Promise<Calls[Name]["out"]>;
};

const handlers: Handlers = {
  async start(options) {
    const runtime = await Runtime.open(options);
    model = await PageModel.open(runtime, options.encoder);
    return runtime.manifest;
  },

  async encode({ key, photo }) {
    const pixels = await pixelsOf(photo);
    const started = performance.now();
    await turns.run(true, () => current().encode(key, pixels));
    return {
      original: { width: pixels.width, height: pixels.height },
      milliseconds: performance.now() - started,
    };
  },

  async embedding({ key, features, original }) {
    const page = current();
    page.keep(key, frameFor(page.runtime.manifest, original), features);
    return { original, milliseconds: null };
  },

  decode({ key, prompt, size, which }) {
    return turns.run(true, async () =>
      current().has(key) ? current().decode(key, prompt, size, which) : null,
    );
  },

  async stability({ info, original, logits }) {
    return new Upscaler(frameFor(info, original)).stability(logits, info.mask_threshold);
  },

  async hint({ info, original, mask }) {
    return maskToLogits(mask, frameFor(info, original));
  },

  async everything({ key, knobs }, id) {
    const page = current();
    const frame = page.frame(key);
    const judge = new Judge(frame, knobs, page.runtime.manifest.mask_threshold);
    const area = frame.lowRes * frame.lowRes;
    const points = gridPoints(knobs.points_per_side, frame.original);
    const found: Candidate[] = [];
    for (const [index, point] of points.entries()) {
      if (cancelled.delete(id)) throw new Cancelled("cancelled");
      const { lowRes, predictedIou } = await turns.run(false, () => page.click(key, point));
      for (let token = 1; token < predictedIou.length; token++) {
        const logits = lowRes.subarray(token * area, (token + 1) * area);
        const candidate = judge.judge(logits, predictedIou[token]!, token, point);
        if (candidate !== null) found.push(candidate);
      }
      if (index % 4 === 3) {
        reply({ id, kind: "progress", done: index + 1, total: points.length });
        await breathe();
      }
    }
    return mergeCandidates(found, frame.original, knobs).map((candidate) =>
      foundMask(candidate, frame.original),
    );
  },

  async cancel({ call }) {
    cancelled.add(call);
    return null;
  },
};

const channel = new MessageChannel();
const breaths: (() => void)[] = [];
channel.port1.onmessage = () => breaths.shift()?.();

/** Let waiting messages in: a clicking person comes before the sweep. */
function breathe(): Promise<void> {
  return new Promise((resolve) => {
    breaths.push(resolve);
    channel.port2.postMessage(null);
  });
}

function reply(message: Reply): void {
  scope.postMessage(message);
}

scope.addEventListener("message", async ({ data }: MessageEvent<Request>) => {
  const { id, name, input } = data;
  try {
    const handler = handlers[name] as (input: unknown, id: number) => Promise<unknown>;
    reply({ id, kind: "done", value: await handler(input, id) });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    reply({ id, kind: "failed", message, cancelled: error instanceof Cancelled });
  }
});
