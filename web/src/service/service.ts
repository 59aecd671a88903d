// The service behind the page, when there is one: photos, embeddings, masks, jobs, exports. Types come from its OpenAPI
// description (npm run api).

import createClient, { type Client, type Middleware } from "openapi-fetch";
import type { AnnotationDocument } from "../core/document";
import type { Size } from "../core/frames";
import { type Prompt, tokensToShow } from "../core/prompt";
import { decodeRle } from "../core/rle";
import type { FoundMask, SweepKnobs } from "../core/sweep";
import type { Decoded } from "../worker/protocol";
import type { components, paths } from "./schema";

export type ServiceModel = components["schemas"]["ModelInfo"];
export type ServiceFormat = components["schemas"]["ExportRequest"]["format"];
type Problem = components["schemas"]["ErrorBody"];

const PROBE_MS = 2500;
const COOKIE = "segany_token";

export class ServiceError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly code = "",
  ) {
    super(message);
  }
}

/** Proof that a write comes from this page, for people who logged in; null without a login. */
let csrf: string | null = null;

export function setCsrf(value: string | null): void {
  csrf = value;
}

export function csrfNow(): string | null {
  return csrf;
}

/** Writes carry the proof. */
export const proving: Middleware = {
  onRequest({ request }) {
    if (csrf !== null && request.method !== "GET") request.headers.set("X-Segany-CSRF", csrf);
    return request;
  },
};

export function checked<T>(answer: { data?: T; error?: unknown; response: Response }): T {
  if (answer.response.ok && answer.data !== undefined) return answer.data;
  const problem = answer.error as Partial<Problem> | undefined;
  const message = problem?.error?.message ?? `the service answered ${answer.response.status}. Try again.`;
  throw new ServiceError(message, answer.response.status, problem?.error?.code);
}

function base64Of(values: Float32Array): string {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  }
  return btoa(text);
}

function floatsOf(base64: string): Float32Array {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new Float32Array(bytes.buffer);
}

export interface Embedding {
  readonly features: Float32Array;
  readonly original: Size;
}

export class Service {
  private readonly client: Client<paths>;
  private readonly uploaded = new Set<string>();

  private constructor(
    readonly root: URL,
    /** Whether people log in and work on projects here. */
    readonly hasProjects: boolean,
  ) {
    this.client = createClient<paths>({ baseUrl: root.href.replace(/\/$/, "") });
    this.client.use(proving);
  }

  /** The service this page came from; null when it came from a plain file server. */
  static async find(page: string): Promise<Service | null> {
    const root = new URL("./", page);
    if (!root.protocol.startsWith("http")) return null;
    try {
      const response = await fetch(new URL("api/v1/health", root), {
        signal: AbortSignal.timeout(PROBE_MS),
        headers: { Accept: "application/json" },
      });
      if (!response.ok || !response.headers.get("content-type")?.includes("json")) return null;
      const health = (await response.json()) as { status?: string; project?: boolean };
      return health.status === "ok" ? new Service(root, health.project === true) : null;
    } catch {
      return null;
    }
  }

  /** Remember the token for this browser; every further request carries it. */
  setToken(token: string): void {
    const secure = this.root.protocol === "https:" ? "; Secure" : "";
    // biome-ignore lint/suspicious/noDocumentCookie: the Cookie Store API is not in every browser, and not on plain HTTP
    document.cookie = `${COOKIE}=${encodeURIComponent(token)}; Path=/; SameSite=Strict; Max-Age=31536000${secure}`;
  }

  async models(): Promise<ServiceModel[]> {
    return checked(await this.client.GET("/api/v1/models"));
  }

  async model(name: string): Promise<ServiceModel> {
    return checked(await this.client.GET("/api/v1/models/{name}", { params: { path: { name } } }));
  }

  /** Folder of a model's ONNX files. */
  modelFolder(name: string): string {
    return new URL(`api/v1/models/${encodeURIComponent(name)}/onnx/`, this.root).href;
  }

  /** The service has this photo without being sent it. */
  knows(key: string): void {
    this.uploaded.add(key);
  }

  async upload(key: string, photo: Blob): Promise<void> {
    if (this.uploaded.has(key)) return;
    const info = checked(
      await this.client.POST("/api/v1/images", {
        body: { file: photo as unknown as string },
        bodySerializer: () => {
          const form = new FormData();
          form.append("file", photo, "photo");
          return form;
        },
      }),
    );
    if (info.key !== key)
      throw new ServiceError("expected the photo to arrive whole; it did not. Open it again.", 500);
    this.uploaded.add(key);
  }

  /** Once more with the photo sent again, when the service has forgotten it. */
  private async with<T>(key: string, photo: Blob, work: () => Promise<T>): Promise<T> {
    await this.upload(key, photo);
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof ServiceError && error.status === 404)) throw error;
      this.uploaded.delete(key);
      await this.upload(key, photo);
      return work();
    }
  }

  async embedding(key: string, photo: Blob, model: string): Promise<Embedding> {
    return this.with(key, photo, async () => {
      const answer = await this.client.GET("/api/v1/images/{key}/embedding", {
        params: { path: { key }, query: { model } },
        parseAs: "arrayBuffer",
      });
      const features = new Float32Array(checked<ArrayBuffer>(answer as never));
      const frame = JSON.parse(answer.response.headers.get("X-Segany-Frame") ?? "{}") as {
        original_hw: [number, number];
      };
      return { features, original: { height: frame.original_hw[0], width: frame.original_hw[1] } };
    });
  }

  /** Masks of one prompt, decoded by the service. */
  async decode(key: string, photo: Blob, model: string, prompt: Prompt): Promise<Decoded> {
    const candidates = tokensToShow(prompt, 4).length > 1;
    const answer = await this.with(key, photo, async () =>
      checked(
        await this.client.POST("/api/v1/images/{key}/masks", {
          params: { path: { key } },
          body: {
            model,
            return_low_res: "all",
            prompts: [
              {
                ...(prompt.points.length > 0 && {
                  points: prompt.points.map(({ x, y }) => [x, y]),
                  labels: prompt.points.map(({ label }) => label),
                }),
                ...(prompt.box && { box: [...prompt.box] }),
                ...(prompt.hint && { low_res: base64Of(prompt.hint) }),
                multimask: candidates,
              },
            ],
          },
        }),
      ),
    );
    const { masks, best, low_res } = answer.results[0]!;
    const [height, width] = masks[0]!.segmentation.size as [number, number];
    const all = low_res ? floatsOf(low_res) : new Float32Array(0);
    const area = all.length / masks.length;
    return {
      tokens: masks.map((mask) => mask.output_index),
      predictedIou: masks.map((mask) => mask.predicted_iou),
      best,
      lowRes: masks.map((_, i) => all.slice(i * area, (i + 1) * area)),
      masks: masks.map((mask) => decodeRle(mask.segmentation)),
      size: { width, height },
      milliseconds: null,
    };
  }

  /** Everything in the photo, as a job: its progress over server-sent events. */
  async everything(
    key: string,
    photo: Blob,
    model: string,
    knobs: Partial<SweepKnobs>,
    progress: (done: number, total: number) => void,
    signal: AbortSignal,
  ): Promise<FoundMask[]> {
    const job = await this.with(key, photo, async () =>
      checked(
        await this.client.POST("/api/v1/jobs", { body: { kind: "everything", image: key, model, knobs } }),
      ),
    );
    const params = { path: { id: job.id } };
    signal.addEventListener("abort", () => void this.client.DELETE("/api/v1/jobs/{id}", { params }));
    await this.watch(job.id, progress, signal);
    const answer = await this.client.GET("/api/v1/jobs/{id}/records", { params });
    const records = checked<components["schemas"]["RecordsAnswer"]>(answer as never);
    return records.annotations as unknown as FoundMask[];
  }

  private watch(
    id: string,
    progress: (done: number, total: number) => void,
    signal: AbortSignal,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const events = new EventSource(new URL(`api/v1/jobs/${id}/events`, this.root), {
        withCredentials: true,
      });
      type Job = components["schemas"]["JobInfo"];
      const jobOf = (event: Event) => JSON.parse((event as MessageEvent<string>).data) as Job;
      const end = (finish: () => void) => {
        events.close();
        finish();
      };
      signal.addEventListener("abort", () => end(() => reject(new DOMException("cancelled", "AbortError"))));
      events.addEventListener("progress", (event) => {
        const job = jobOf(event);
        progress(job.progress.done, job.progress.total);
      });
      events.addEventListener("done", () => end(resolve));
      events.addEventListener("cancelled", () =>
        end(() => reject(new DOMException("cancelled", "AbortError"))),
      );
      events.addEventListener("failed", (event) => {
        end(() =>
          reject(new ServiceError(jobOf(event).error ?? "the service could not finish. Try again.", 500)),
        );
      });
      events.addEventListener("error", () => {
        // The browser opens a cut stream again by itself; a closed one was refused.
        if (events.readyState === EventSource.CLOSED) {
          end(() => reject(new ServiceError("the service closed the line. Try again.", 503)));
        }
      });
    });
  }

  /** Documents as a file of a format that the page does not write itself. */
  async export(
    documents: readonly AnnotationDocument[],
    format: ServiceFormat,
  ): Promise<{ file: Blob; name: string }> {
    const answer = await this.client.POST("/api/v1/export", {
      body: { documents: documents as unknown as Record<string, unknown>[], format },
      parseAs: "blob",
    });
    const file = checked<Blob>(answer as never);
    const disposition = answer.response.headers.get("content-disposition") ?? "";
    const name = /filename\*?="?(?:utf-8'')?([^";]+)/i.exec(disposition)?.[1];
    return { file, name: name ? decodeURIComponent(name) : `masks-${format}.zip` };
  }
}
