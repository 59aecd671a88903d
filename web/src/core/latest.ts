// One at a time, the newest wins: for previews that follow the pointer. At most one call runs and at most one waits;
// asking again replaces the one that waits.

export class LatestOnly<In, Out> {
  private running = false;
  private waiting: {
    input: In;
    resolve: (value: Out | null) => void;
    reject: (error: unknown) => void;
  } | null = null;

  constructor(private readonly work: (input: In) => Promise<Out>) {}

  /** The result, or null when a newer request took this one's place. */
  ask(input: In): Promise<Out | null> {
    return new Promise((resolve, reject) => {
      this.waiting?.resolve(null);
      this.waiting = { input, resolve, reject };
      void this.pump();
    });
  }

  /** Forget the one that waits. */
  drop(): void {
    this.waiting?.resolve(null);
    this.waiting = null;
  }

  get busy(): boolean {
    return this.running;
  }

  private async pump(): Promise<void> {
    if (this.running || this.waiting === null) return;
    const { input, resolve, reject } = this.waiting;
    this.waiting = null;
    this.running = true;
    try {
      resolve(await this.work(input));
    } catch (error) {
      reject(error);
    } finally {
      this.running = false;
      void this.pump();
    }
  }
}
