// One thing at a time in the runtime, what a person waits for before what runs in the background.

export class Turns {
  private busy = false;
  private readonly waiting: { urgent: boolean; go: () => void }[] = [];

  async run<T>(urgent: boolean, work: () => Promise<T>): Promise<T> {
    if (this.busy) {
      await new Promise<void>((go) => {
        const behind = urgent ? this.waiting.findIndex((other) => !other.urgent) : -1;
        this.waiting.splice(behind < 0 ? this.waiting.length : behind, 0, { urgent, go });
      });
    }
    this.busy = true;
    try {
      return await work();
    } finally {
      const next = this.waiting.shift();
      if (next === undefined) this.busy = false;
      else next.go();
    }
  }
}
