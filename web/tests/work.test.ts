// The work on a photo as values: drafts, candidates, accepting, picking, changing, importing.

import { describe, expect, it } from "vitest";
import { bitmapArea, EMPTY } from "../src/core/bitmap";
import { type AnnotationDocument, newDocument, readDocument } from "../src/core/document";
import type { PromptEvent } from "../src/core/prompt";
import { decodeRle } from "../src/core/rle";
import { boxBitmap } from "../src/core/strokes";
import {
  type Answer,
  accepted,
  draftMask,
  editing,
  hidden,
  imported,
  newWork,
  picked,
  recoloured,
  removed,
  renamed,
  shownIndex,
  type Work,
  withActiveSeconds,
  withChoice,
  withEvent,
  withFound,
} from "../src/core/work";

const now = "2026-01-01T00:00:00.000Z";
const image = { image_id: 9, width: 30, height: 20, file_name: "a.png", sha256: "a".repeat(64) };
const click: PromptEvent = { kind: "point", x: 5, y: 5, label: 1, at: now };
const brush: PromptEvent = { kind: "brush", radius: 3, path: [[20, 10]], at: now };
const answer: Answer = {
  tokens: [1, 2, 3],
  predictedIou: [0.3, 0.9, 0.5],
  best: 1,
  lowRes: [0, 1, 2].map((n) => Float32Array.of(n)),
  masks: [boxBitmap(1, 1, 4, 4), boxBitmap(1, 1, 8, 8), boxBitmap(0, 0, 30, 20)],
  model: "fingerprint",
};

function asked(): Work {
  const work = withEvent(newWork(newDocument(image, now)), click, now);
  work.draft!.turn!.answer = answer;
  return work;
}

describe("a draft", () => {
  it("shows the best candidate until another is chosen, round and round", () => {
    const work = asked();
    expect(shownIndex(work.draft!)).toBe(1);
    const next = withChoice(work, 2);
    expect(shownIndex(next.draft!)).toBe(2);
    expect(shownIndex(withChoice(next, 3).draft!)).toBe(0);
    expect(withChoice(work, 1)).toBe(work);
  });

  it("hands the chosen candidate on as the hint of the next click", () => {
    const next = withEvent(withChoice(asked(), 0), { ...click, label: 0 }, now);
    expect(next.draft!.turn!.from).toMatchObject({ chosen: 0 });
    expect(next.draft!.turn!.events.length).toBe(2);
    expect(next.draft!.chosen).toBeNull();
  });

  it("keeps strokes on top of whatever the model says later", () => {
    let work = withEvent(asked(), brush, now);
    const before = bitmapArea(draftMask(work.draft!, image, decodeRle));
    expect(before).toBeGreaterThan(49);
    work = withEvent(work, click, now);
    work.draft!.turn!.answer = { ...answer, masks: [EMPTY] };
    expect(bitmapArea(draftMask(work.draft!, image, decodeRle))).toBe(before - 49);
  });
});

describe("accepting", () => {
  it("writes a record that says how the mask came to be", () => {
    const work = withActiveSeconds(asked(), 4.5);
    const mask = draftMask(work.draft!, image, decodeRle);
    const after = accepted(work, mask, 0.6, now);
    expect(after.draft).toBeNull();
    expect(after.document.annotations).toHaveLength(1);
    expect(after.document.annotations[0]).toMatchObject({
      id: 1,
      area: 49,
      bbox: [1, 1, 6, 6],
      crop_box: [0, 0, 30, 20],
      predicted_iou: 0.9,
      stability_score: 0.6,
      output_index: 2,
      source: "model",
      point_coords: [[5, 5]],
      interaction: { chosen: 1, model: "fingerprint", active_seconds: 4.5, prompts: [click] },
    });
    expect(readDocument(JSON.parse(JSON.stringify(after.document)), now)).toEqual(after.document);
  });

  it("calls a mask that no model touched manual and certain", () => {
    const work = withEvent(newWork(newDocument(image, now)), brush, now);
    const after = accepted(work, draftMask(work.draft!, image, decodeRle), 0.6, now);
    expect(after.document.annotations[0]).toMatchObject({ source: "manual", predicted_iou: 1 });
    expect(after.document.annotations[0]).not.toHaveProperty("output_index");
  });

  it("never takes an empty mask", () => {
    const work = asked();
    expect(accepted(work, EMPTY, 0.6, now)).toBe(work);
  });

  it("changes the mask that was worked on again, and keeps its history", () => {
    let work = accepted(asked(), boxBitmap(0, 0, 3, 3), 0.6, now);
    work = renamed(work, 1, "cup", now);
    work = withEvent(editing(work, 1, now), brush, now);
    work = accepted(work, draftMask(work.draft!, image, decodeRle), 0.6, now);
    expect(work.document.annotations).toHaveLength(1);
    expect(work.document.annotations[0]).toMatchObject({
      id: 1,
      label: "cup",
      predicted_iou: 0.9,
      interaction: { prompts: [click, brush], chosen: 1 },
    });
  });
});

describe("the list", () => {
  const two = accepted(
    { ...asked(), document: accepted(asked(), boxBitmap(0, 0, 2, 2), 0.6, now).document },
    boxBitmap(3, 3, 9, 9),
    0.6,
    now,
  );

  it("numbers masks and gives each a colour of its own", () => {
    expect(two.document.annotations.map((one) => one.id)).toEqual([1, 2]);
    expect(new Set(two.document.annotations.map((one) => one.view!.colour)).size).toBe(2);
  });

  it("renames, forgets an empty name, recolours, hides, removes", () => {
    let work = renamed(two, 2, "  dog ", now);
    expect(work.document.annotations[1]!.label).toBe("dog");
    work = renamed(work, 2, " ", now);
    expect(work.document.annotations[1]).not.toHaveProperty("label");
    work = recoloured(work, 1, "#112233", now);
    work = hidden(work, [1, 2], true, now);
    expect(work.document.annotations.map((one) => one.view)).toEqual([
      { colour: "#112233", hidden: true },
      { colour: two.document.annotations[1]!.view!.colour, hidden: true },
    ]);
    work = removed(work, 1, now);
    expect(work.document.annotations.map((one) => one.id)).toEqual([2]);
  });
});

describe("everything", () => {
  const found = [0, 1, 2].map((n) => ({
    segmentation: accepted(asked(), boxBitmap(n, 0, n + 3, 3), 0.6, now).document.annotations[0]!
      .segmentation,
    area: 9,
    bbox: [n, 0, 2, 2] as const,
    predicted_iou: 0.5,
    stability_score: 0.9,
    point_coords: [[n + 1, 1] as const],
    output_index: 1,
  }));

  it("moves picked masks to the list and leaves the others", () => {
    const work = picked(withFound(asked(), found), [2], "m", now);
    expect(work.found).toHaveLength(2);
    expect(work.document.annotations[0]).toMatchObject({
      source: "automatic",
      bbox: [2, 0, 2, 2],
      interaction: { prompts: [{ kind: "everything" }], model: "m" },
    });
    const all = picked(work, [0, 1], "m", now);
    expect(all.found).toBeNull();
    expect(all.document.annotations).toHaveLength(3);
    expect(readDocument(JSON.parse(JSON.stringify(all.document)), now)).toEqual(all.document);
  });
});

describe("importing", () => {
  it("adds masks, numbers them anew where needed, and takes the same file twice only once", () => {
    const mine = accepted(asked(), boxBitmap(0, 0, 3, 3), 0.6, now);
    const other: AnnotationDocument = accepted(asked(), boxBitmap(5, 5, 9, 9), 0.6, now).document;
    const both = imported(mine, other, now);
    expect(both.document.annotations.map((one) => one.id)).toEqual([1, 2]);
    expect(imported(mine, mine.document, now).document.annotations).toHaveLength(1);
  });
});
