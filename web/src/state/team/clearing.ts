// Clearing photos for release: what is blurred, what a person adds or takes back, and the verdict.

import { signal } from "@preact/signals";
import { EMPTY } from "../../core/bitmap";
import { simplifyRing, traceOutline } from "../../core/outline";
import { applyStroke, type Stroke } from "../../core/strokes";
import type { Outline, Project, Region, RegionKind, ToClear } from "../../service/team";
import { announce } from "../messages";
import type { Crew } from "./crew";

const FETCHED = 8;
const MOST_CORNERS = 400;

export type ClearingState = "fetching" | "working" | "sending" | "empty";

export class Clearing {
  readonly state = signal<ClearingState>("fetching");
  readonly current = signal<ToClear | null>(null);
  readonly remaining = signal(0);
  readonly done = signal(0);
  readonly kind = signal<RegionKind>("face");
  readonly chosen = signal<number | null>(null);
  private waiting: readonly ToClear[] = [];

  constructor(
    private readonly crew: Crew,
    private readonly project: Project,
  ) {
    void this.next();
  }

  async next(): Promise<void> {
    this.chosen.value = null;
    this.state.value = "fetching";
    try {
      if (this.waiting.length === 0) {
        const answer = await this.crew.team.clearing(this.project.id, FETCHED);
        this.waiting = answer.next;
        this.remaining.value = answer.remaining;
      }
      const [first, ...rest] = this.waiting;
      this.waiting = rest;
      this.current.value = first ?? null;
      this.state.value = first ? "working" : "empty";
      announce(first ? `${first.image.file_name}, ${first.regions.length} regions.` : "Nothing to clear.");
    } catch (error) {
      this.state.value = "empty";
      this.crew.say(error);
    }
  }

  private change(regions: readonly Region[]): void {
    if (this.current.value !== null) this.current.value = { ...this.current.value, regions };
  }

  /** What was painted is blurred too. */
  async paint(stroke: Stroke): Promise<void> {
    const now = this.current.value;
    if (now === null) return;
    for (const outline of outlinesOf(stroke, now)) await this.add(outline);
  }

  private async add(outline: Outline): Promise<void> {
    const now = this.current.value;
    if (now === null) return;
    try {
      const region = await this.crew.team.addRegion(now.image.id, this.kind.value, outline);
      if (this.current.value?.image.id !== now.image.id) return;
      this.change([...this.current.value.regions, region]);
      this.chosen.value = region.id;
      announce("Blurred.");
    } catch (error) {
      this.crew.say(error);
    }
  }

  async takeBack(id: number): Promise<void> {
    try {
      await this.crew.team.removeRegion(id);
      this.change((this.current.value?.regions ?? []).filter((one) => one.id !== id));
      this.chosen.value = null;
      announce("Taken back.");
    } catch (error) {
      this.crew.say(error);
    }
  }

  /** What the brush marks from now on. */
  mark(kind: RegionKind): void {
    this.kind.value = kind;
  }

  step(by: number): void {
    const regions = this.current.value?.regions ?? [];
    if (regions.length === 0) return;
    const place = regions.findIndex((one) => one.id === this.chosen.value);
    const from = place < 0 && by < 0 ? 0 : place;
    this.chosen.value = regions[(from + by + regions.length) % regions.length]!.id;
  }

  async decide(verdict: "cleared" | "withheld", reason = ""): Promise<void> {
    const now = this.current.value;
    if (now === null || this.state.value !== "working") return;
    this.state.value = "sending";
    try {
      await this.crew.team.clear(now.image.id, verdict, reason);
      this.done.value++;
      this.remaining.value = Math.max(0, this.remaining.value - 1);
      await this.next();
    } catch (error) {
      this.state.value = "working";
      this.crew.say(error);
    }
  }
}

/** Outlines of a stroke, outer ones alone, with no more corners than the service takes. */
function outlinesOf(stroke: Stroke, { image }: ToClear): Outline[] {
  const rings = traceOutline(applyStroke(EMPTY, stroke, image));
  return rings.filter(isOuter).map((ring) => {
    let simple = simplifyRing(ring, 0.7);
    for (let off = 1.5; simple.length > 2 * MOST_CORNERS; off *= 2) simple = simplifyRing(ring, off);
    return Array.from({ length: simple.length / 2 }, (_, i) => [simple[2 * i]!, simple[2 * i + 1]!] as const);
  });
}

function isOuter(ring: ArrayLike<number>): boolean {
  return ring.length >= 6 && signedArea(ring) > 0;
}

function signedArea(ring: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < ring.length; i += 2) {
    const j = (i + 2) % ring.length;
    sum += ring[i]! * ring[j + 1]! - ring[j]! * ring[i + 1]!;
  }
  return sum / 2;
}
