// The page's side of the worker: calls that return promises, with progress and cancel.

import type { CallName, Calls, Reply } from "./protocol";

interface Open {
  resolve: (value: never) => void;
  reject: (error: Error) => void;
  progress: ((done: number, total: number) => void) | undefined;
}

export class CancelledError extends Error {}

export interface CallOptions {
  readonly transfer?: Transferable[];
  readonly progress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

export class WorkerClient {
  private readonly open = new Map<number, Open>();
  private next = 1;
  private broken: Error | null = null;

  constructor(private readonly worker: Worker) {
    worker.addEventListener("message", ({ data }: MessageEvent<Reply>) => this.take(data));
    worker.addEventListener("error", (event) =>
      this.fail(new Error(event.message || "the worker failed to start")),
    );
  }

  call<Name extends CallName>(
    name: Name,
    input: Calls[Name]["in"],
    options: CallOptions = {},
  ): Promise<Calls[Name]["out"]> {
    if (this.broken !== null) return Promise.reject(this.broken);
    const id = this.next++;
    options.signal?.addEventListener("abort", () => {
      if (this.open.has(id)) void this.call("cancel", { call: id });
    });
    return new Promise((resolve, reject) => {
      this.open.set(id, { resolve, reject, progress: options.progress });
      this.worker.postMessage({ id, name, input }, options.transfer ?? []);
    });
  }

  /** End the worker; whatever it still owes is refused. */
  close(): void {
    this.worker.terminate();
    this.fail(new CancelledError("the worker was ended"));
  }

  private take(reply: Reply): void {
    const call = this.open.get(reply.id);
    if (call === undefined) return;
    if (reply.kind === "progress") {
      call.progress?.(reply.done, reply.total);
      return;
    }
    this.open.delete(reply.id);
    if (reply.kind === "done") call.resolve(reply.value as never);
    else call.reject(reply.cancelled ? new CancelledError(reply.message) : new Error(reply.message));
  }

  private fail(error: Error): void {
    this.broken = error;
    for (const call of this.open.values()) call.reject(error);
    this.open.clear();
  }
}
