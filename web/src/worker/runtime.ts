// The ONNX runtime: which build of it, how many threads, and sessions over a model's files.

import type { InferenceSession, Tensor } from "onnxruntime-web";
import type { Backend, ModelInfo, StartOptions } from "./protocol";

type Ort = typeof import("onnxruntime-web/wasm");

interface ManifestFile {
  readonly name: string;
  readonly sha256: string;
}

export interface Manifest extends ModelInfo {
  readonly format: string;
  readonly files: Readonly<Record<string, ManifestFile | undefined>>;
}

const FORMAT = "segany-onnx 1";

async function loadOrt(backend: Backend): Promise<Ort> {
  if (backend === "webgpu") return (await import("onnxruntime-web/webgpu")) as unknown as Ort;
  return import("onnxruntime-web/wasm");
}

export class Runtime {
  private constructor(
    private readonly ort: Ort,
    private readonly options: StartOptions,
    readonly manifest: Manifest,
  ) {}

  static async open(options: StartOptions): Promise<Runtime> {
    const response = await fetch(new URL("manifest.json", options.model), { headers: options.headers });
    if (!response.ok) throw new Error(`expected a model at ${options.model}; got ${response.status}.`);
    const manifest = (await response.json()) as Manifest;
    if (manifest.format !== FORMAT) {
      throw new Error(`the model's manifest must be "${FORMAT}"; got "${manifest.format}". Export it again.`);
    }
    const ort = await loadOrt(options.backend);
    ort.env.wasm.wasmPaths = options.runtime;
    ort.env.wasm.numThreads = options.threads;
    ort.env.logLevel = "error";
    return new Runtime(ort, options, manifest);
  }

  /** Whether the encoder runs on the GPU. */
  get usesGpu(): boolean {
    return this.options.backend === "webgpu";
  }

  has(file: string): boolean {
    return this.manifest.files[file] !== undefined;
  }

  /** A session over one of the manifest's files; the encoder alone goes to the GPU. */
  async session(file: string): Promise<InferenceSession> {
    const entry = this.manifest.files[file];
    if (entry === undefined) {
      throw new Error(`the model must have a file "${file}"; its manifest lists none. Export it again.`);
    }
    const url = new URL(entry.name, this.options.model);
    url.searchParams.set("v", entry.sha256.slice(0, 16));
    const response = await fetch(url, { headers: this.options.headers });
    if (!response.ok) throw new Error(`expected ${entry.name} at ${url}; got ${response.status}.`);
    const gpu = this.usesGpu && file.startsWith("encoder");
    return this.ort.InferenceSession.create(new Uint8Array(await response.arrayBuffer()), {
      executionProviders: gpu ? ["webgpu"] : ["wasm"],
      graphOptimizationLevel: "all",
    });
  }

  floats(data: Float32Array, dims: readonly number[]): Tensor {
    return new this.ort.Tensor("float32", data, dims);
  }
}
