// What the browser keeps comes back: documents, the mask being made with what the model was told, found masks.

import "fake-indexeddb/auto";
import { expect, it, vi } from "vitest";
import { EMPTY } from "../src/core/bitmap";
import { newDocument } from "../src/core/document";
import { boxBitmap } from "../src/core/strokes";
import { accepted, newWork, withEvent, withFound } from "../src/core/work";
import { Storage } from "../src/state/storage";

const now = "2026-01-01T00:00:00Z";
const image = { image_id: 1, width: 20, height: 14, file_name: "a.png", sha256: "0".repeat(64) };
const click = { kind: "point", x: 3, y: 4, label: 1, at: now } as const;

it("keeps the newest of many saves, and every photo's own", async () => {
  const storage = await Storage.open("newest");
  const start = newWork(newDocument(image, now));
  const saves = Array.from({ length: 20 }, (_, i) =>
    storage.save("a", { ...start, document: { ...start.document, active_seconds: i } }),
  );
  void storage.save("b", start);
  await Promise.all(saves);
  await storage.save("b", start);
  expect((await storage.work("a"))?.document.active_seconds).toBe(19);
  expect((await storage.work("b"))?.document.active_seconds).toBe(0);
  await storage.remove("a");
  expect(await storage.work("a")).toBeNull();
  storage.close();
});

it.each(Array.from({ length: 12 }, (_, i) => i))(
  "loses no save made %i steps after the one before",
  async (steps) => {
    const storage = await Storage.open(`steps ${steps}`);
    const start = newWork(newDocument(image, now));
    const later = { ...start, document: { ...start.document, active_seconds: 7 } };
    const real = IDBDatabase.prototype.transaction;
    let second: Promise<void> | null = null;
    const after = async () => {
      for (let i = 0; i < steps; i++) await null;
      second ??= storage.save("a", later);
    };
    const spy = vi.spyOn(IDBDatabase.prototype, "transaction").mockImplementation(function (
      this: IDBDatabase,
      ...how: Parameters<typeof real>
    ) {
      const made = real.apply(this, how);
      if (how[1] === "readwrite") made.addEventListener("complete", () => void after());
      return made;
    });
    await storage.save("a", start);
    await vi.waitFor(() => expect(second).not.toBeNull());
    await second;
    spy.mockRestore();
    expect((await storage.work("a"))?.document.active_seconds).toBe(7);
    storage.close();
  },
);

it("brings back a draft so that the model gives the same answer again", async () => {
  const storage = await Storage.open("draft");
  let work = withEvent(newWork(newDocument(image, now)), click, now);
  const logits = Float32Array.of(1, 2, 3);
  work.draft!.turn!.answer = {
    tokens: [1, 2],
    predictedIou: [0.4, 0.8],
    best: 1,
    lowRes: [Float32Array.of(0), logits],
    masks: [EMPTY, boxBitmap(1, 1, 4, 4)],
    model: "f",
  };
  work = withEvent(work, { ...click, label: 0 }, now);
  work = withEvent(work, { kind: "brush", radius: 2, path: [[5, 5]], at: now }, now);
  work = withFound(work, []);
  await storage.save("a", work);
  const back = await storage.work("a");
  expect(back?.draft?.events).toEqual(work.draft!.events);
  expect(back?.draft?.turn?.events.length).toBe(2);
  expect(back?.draft?.turn?.hint).toEqual(logits);
  expect(back?.draft?.turn?.answer).toBeNull();
  storage.close();
});

it("brings back a mask that is worked on again", async () => {
  const storage = await Storage.open("again");
  let work = withEvent(
    newWork(newDocument(image, now)),
    { kind: "brush", radius: 2, path: [[5, 5]], at: now },
    now,
  );
  work = accepted(work, boxBitmap(2, 2, 6, 6), 0.6, now);
  const { editing } = await import("../src/core/work");
  work = withEvent(editing(work, 1, now), click, now);
  await storage.save("a", work);
  const back = await storage.work("a");
  expect(back?.draft?.base).toEqual(work.document.annotations[0]);
  expect(back?.draft?.turn?.from).toEqual({ mask: work.document.annotations[0]!.segmentation });
  storage.close();
});
