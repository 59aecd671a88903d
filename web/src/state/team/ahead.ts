// The next images, fetched and encoded while a person works on this one, never in its way.

import type { Project } from "../../service/team";
import type { Crew } from "./crew";

const COUNT = 2;
const KEPT = 4;

export class Ahead {
  private readonly photos = new Map<number, Blob>();
  private isStopped = false;

  constructor(
    private readonly crew: Crew,
    private readonly project: Project,
  ) {}

  stop(): void {
    this.isStopped = true;
  }

  /** A photo that is here already, or that is fetched now. */
  async photo(image: number, fetch: () => Promise<Blob>): Promise<Blob> {
    const photo = this.photos.get(image) ?? (await fetch());
    this.photos.delete(image);
    this.photos.set(image, photo);
    for (const old of this.photos.keys()) {
      if (this.photos.size <= KEPT) break;
      this.photos.delete(old);
    }
    return photo;
  }

  async remaining(): Promise<number | null> {
    try {
      return (await this.crew.team.queue(this.project.id, 1)).remaining;
    } catch {
      return null; // Only a number in a corner.
    }
  }

  /** Look at what comes next, one after the other; what fails will be fetched when its turn comes. */
  async look(current: number): Promise<void> {
    try {
      const { next } = await this.crew.team.queue(this.project.id, COUNT);
      for (const { image, key, width, height } of next) {
        const engine = this.crew.engine.value;
        if (image === current || engine === null || this.isStopped) continue;
        const file = await this.photo(image, () => this.crew.team.photo(image));
        this.crew.service.knows(key);
        await engine.prepare({ key, file, width, height });
        performance.mark(`segany:ahead ${image}`);
      }
    } catch {
      // Nothing is lost by not being early.
    }
  }
}
