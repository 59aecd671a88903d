// The page's own rules: outlines, strokes, history, one preview at a time, gestures, keys, documents.

import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { NO_ACTIVITY, worked } from "../src/core/activity";
import {
  bitmapArea,
  EMPTY,
  extent,
  intersectionArea,
  isInside,
  rewindow,
  spanning,
  tight,
} from "../src/core/bitmap";
import { maskKeys, newDocument, nextId, readDocument } from "../src/core/document";
import { stemOf } from "../src/core/exports";
import { type Gesture, IDLE, moved, pressed, released } from "../src/core/gesture";
import { amend, begin, push, redo, undo } from "../src/core/history";
import { LatestOnly } from "../src/core/latest";
import { type Ring, simplifyRing, traceOutline } from "../src/core/outline";
import { boxOf, decoderPoints, promptOf, tokensToShow } from "../src/core/prompt";
import { decodeRle, encodeRle } from "../src/core/rle";
import { sha256HexSlow } from "../src/core/sha256";
import { commandOf, keyCaps, SHORTCUTS } from "../src/core/shortcuts";
import { applyStroke, applyStrokes, boxBitmap } from "../src/core/strokes";
import { previewSize } from "../src/core/upscale";
import { fitView, held, toPhoto, toStage, zoomAt } from "../src/core/view";
import { random, randomMask } from "./golden";

/** Even-odd area of rings by the shoelace formula: holes run the other way. */
function signedArea(rings: Ring[]): number {
  let sum = 0;
  for (const ring of rings) {
    for (let i = 0; i < ring.length; i += 2) {
      const j = (i + 2) % ring.length;
      sum += ring[i]! * ring[j + 1]! - ring[j]! * ring[i + 1]!;
    }
  }
  return sum / 2;
}

function crossings(rings: Ring[], x: number, y: number): number {
  let count = 0;
  for (const ring of rings) {
    for (let i = 0; i < ring.length; i += 2) {
      const j = (i + 2) % ring.length;
      const [ax, ay, bx, by] = [ring[i]!, ring[i + 1]!, ring[j]!, ring[j + 1]!];
      if (ax === bx && ax > x && Math.min(ay, by) < y && Math.max(ay, by) > y) count++;
    }
  }
  return count;
}

describe("outlines", () => {
  it("enclose exactly the mask, whatever its holes and corners", () => {
    const draw = random(1);
    for (let round = 0; round < 25; round++) {
      const mask = randomMask(draw, 5 + Math.floor(draw() * 30), 5 + Math.floor(draw() * 30));
      const rings = traceOutline(mask);
      expect(signedArea(rings)).toBe(bitmapArea(mask));
      for (let y = mask.y; y < mask.y + mask.height; y++) {
        for (let x = mask.x; x < mask.x + mask.width; x++) {
          expect(crossings(rings, x + 0.5, y + 0.5) % 2 === 1).toBe(isInside(mask, x, y));
        }
      }
    }
  });

  it("get simpler but stay within the tolerance", () => {
    const disc = applyStroke(
      EMPTY,
      { kind: "brush", radius: 30, path: [[50, 50]] },
      { width: 100, height: 100 },
    );
    const [ring] = traceOutline(disc);
    const simple = simplifyRing(ring!, 0.8);
    expect(simple.length).toBeLessThan(ring!.length / 2);
    for (let i = 0; i < simple.length; i += 2) {
      expect(Math.abs(Math.hypot(simple[i]! - 50, simple[i + 1]! - 50) - 30)).toBeLessThan(1.5);
    }
    expect(Math.abs(signedArea([simple]) - bitmapArea(disc))).toBeLessThan(0.05 * bitmapArea(disc));
  });
});

describe("bitmaps", () => {
  it("keep their pixels when the window changes", () => {
    const mask = randomMask(random(2), 20, 14);
    const wide = rewindow(mask, -3, -2, 40, 30);
    expect(bitmapArea(wide)).toBe(bitmapArea(mask));
    expect(tight(wide)).toEqual(tight(mask));
    expect(extent(wide)).toEqual(extent(mask));
    expect(intersectionArea(wide, mask)).toBe(bitmapArea(mask));
    expect(bitmapArea(spanning(mask, { x: 30, y: 30, width: 4, height: 4 }))).toBe(bitmapArea(mask));
  });
});

describe("strokes", () => {
  const photo = { width: 60, height: 40 };

  it("paint a round tip by the pixel's centre", () => {
    const dot = applyStroke(EMPTY, { kind: "brush", radius: 10, path: [[30, 20]] }, photo);
    let wanted = 0;
    for (let y = 0; y < 40; y++)
      for (let x = 0; x < 60; x++) wanted += Math.hypot(x - 29.5, y - 19.5) <= 10 ? 1 : 0;
    expect(bitmapArea(dot)).toBe(wanted);
  });

  it("never leave the photo, and the given mask as it was", () => {
    const before = boxBitmap(0, 0, 5, 5);
    const copy = before.data.slice();
    const after = applyStroke(
      before,
      {
        kind: "brush",
        radius: 50,
        path: [
          [-10, -10],
          [80, 60],
        ],
      },
      photo,
    );
    expect(bitmapArea(after)).toBe(60 * 40);
    expect(before.data).toEqual(copy);
    expect(applyStroke(before, { kind: "brush", radius: 2, path: [[200, 200]] }, photo)).toBe(before);
  });

  it("erase what was painted, to the pixel", () => {
    const path = [
      [10, 10],
      [20, 25],
      [50, 12],
    ] as const;
    const both = applyStrokes(
      EMPTY,
      [
        { kind: "brush", radius: 4, path },
        { kind: "erase", radius: 4, path },
      ],
      photo,
    );
    expect(both).toEqual(EMPTY);
  });
});

describe("history", () => {
  it("goes back and forth, forgets the future on a new step, and amends in place", () => {
    let history = begin(1);
    history = push(push(history, 2), 3);
    history = undo(history);
    expect(history.present).toBe(2);
    history = amend(history, 20);
    expect(redo(history).present).toBe(3);
    expect(undo(history).present).toBe(1);
    history = push(history, 4);
    expect(redo(history)).toBe(history);
    expect(undo(undo(undo(history))).present).toBe(1);
  });
});

describe("one preview at a time", () => {
  it("runs one, keeps only the newest waiting, and answers the others with null", async () => {
    let [running, most] = [0, 0];
    const done: number[] = [];
    const open: (() => void)[] = [];
    const queue = new LatestOnly(async (n: number) => {
      most = Math.max(most, ++running);
      await new Promise<void>((resolve) => open.push(resolve));
      running--;
      done.push(n);
      return n;
    });
    const answers = [1, 2, 3, 4].map((n) => queue.ask(n));
    expect(open.length).toBe(1);
    open.shift()!();
    await answers[0];
    await Promise.resolve();
    expect(open.length).toBe(1);
    open.shift()!();
    expect(await Promise.all(answers)).toEqual([1, null, null, 4]);
    expect(most).toBe(1);
    expect(done).toEqual([1, 4]);
  });

  it("goes on after a failure", async () => {
    const queue = new LatestOnly(async (n: number) => {
      if (n === 1) throw new Error("no");
      return n;
    });
    await expect(queue.ask(1)).rejects.toThrow("no");
    expect(await queue.ask(2)).toBe(2);
  });
});

describe("prompts", () => {
  const frame = {
    original: { width: 200, height: 100 },
    resized: { width: 512, height: 256 },
    canvas: 512,
    lowRes: 128,
  };
  const at = "2026-01-01T00:00:00Z";
  const click = { kind: "point", x: 100, y: 50, label: 1, at } as const;
  const box = { kind: "box", xyxy: [0, 0, 100, 100], at } as const;

  it("give three candidates to one lone click or box, the single mask to everything else", () => {
    expect(tokensToShow(promptOf([click], null)!, 4)).toEqual([1, 2, 3]);
    expect(tokensToShow(promptOf([box], null)!, 4)).toEqual([1, 2, 3]);
    expect(tokensToShow(promptOf([click, box], null)!, 4)).toEqual([0]);
    expect(tokensToShow(promptOf([click], new Float32Array(4))!, 4)).toEqual([0]);
    expect(promptOf([{ kind: "brush", radius: 3, path: [[1, 1]], at }], null)).toBeNull();
  });

  it("carry the padding point that belongs to the model, or the box's corners", () => {
    const alone = decoderPoints(promptOf([click, { ...click, label: 0 }], null)!, frame);
    expect(Array.from(alone.labels)).toEqual([1, 0, -1]);
    expect(Array.from(alone.coords)).toEqual([256, 128, 256, 128, 0, 0]);
    const boxed = decoderPoints(promptOf([click, box, { ...box, xyxy: [10, 10, 20, 20] }], null)!, frame);
    expect(Array.from(boxed.labels)).toEqual([1, 2, 3]);
    expect(boxed.coords[2]).toBeCloseTo(25.6, 4);
  });

  it("take a box from any two corners and hold it inside the photo", () => {
    expect(boxOf({ x: 90, y: -5 }, { x: 10, y: 40 }, 80, 60)).toEqual([10, 0, 80, 40]);
    expect(boxOf({ x: 10, y: 10 }, { x: 10.5, y: 40 }, 80, 60)).toBeNull();
  });
});

describe("view", () => {
  const [photo, stage] = [
    { width: 400, height: 300 },
    { width: 1000, height: 700 },
  ];

  it("fits the photo in the middle", () => {
    const view = fitView(photo, stage);
    const [corner, end] = [toStage(view, { x: 0, y: 0 }), toStage(view, { x: 400, y: 300 })];
    expect(corner.x).toBeCloseTo(1000 - end.x, 9);
    expect(corner.y).toBeGreaterThan(0);
  });

  it("keeps the point under the pointer while zooming", () => {
    const view = fitView(photo, stage);
    const pointer = { x: 420, y: 333 };
    const before = toPhoto(view, pointer);
    const zoomed = zoomAt(view, 3, pointer, photo, stage);
    expect(toPhoto(zoomed, pointer).x).toBeCloseTo(before.x, 6);
    expect(toPhoto(zoomed, pointer).y).toBeCloseTo(before.y, 6);
    expect(zoomed.zoom).toBeCloseTo(view.zoom * 3, 9);
  });

  it("never loses the photo", () => {
    const lost = held({ zoom: 1, x: 99_999, y: -99_999 }, photo, stage);
    expect(lost.x).toBeLessThan(stage.width);
    expect(lost.y + photo.height).toBeGreaterThan(0);
  });

  it("previews large photos smaller", () => {
    expect(previewSize({ width: 4000, height: 1000 }, 1000)).toEqual({ width: 1000, height: 250 });
    expect(previewSize({ width: 40, height: 10 }, 1000)).toEqual({ width: 40, height: 10 });
  });
});

describe("gestures", () => {
  const end = (gesture: Gesture, x: number, y: number, time = 50, touch = false) =>
    released(gesture, { x, y }, time, touch);

  it("tells a click from a drag", () => {
    const down = pressed({ x: 10, y: 10 }, 0, 0);
    expect(end(moved(down, { x: 12, y: 11 }), 12, 11)).toEqual({
      kind: "click",
      at: { x: 10, y: 10 },
      button: 0,
    });
    expect(end(moved(down, { x: 60, y: 11 }), 12, 11)).toEqual({
      kind: "box",
      from: { x: 10, y: 10 },
      to: { x: 12, y: 11 },
    });
  });

  it("takes a long press for the right button, and a right drag for nothing", () => {
    expect(end(pressed({ x: 1, y: 1 }, 0, 0), 1, 1, 600, true)).toMatchObject({ kind: "click", button: 2 });
    expect(end(pressed({ x: 1, y: 1 }, 0, 0), 1, 1, 600, false)).toMatchObject({ kind: "click", button: 0 });
    expect(end(pressed({ x: 1, y: 1 }, 2, 0), 50, 50)).toEqual({ kind: "none" });
    expect(end(IDLE, 1, 1)).toEqual({ kind: "none" });
  });
});

describe("keys", () => {
  const press = (
    key: string,
    held: Partial<Record<"ctrlKey" | "metaKey" | "shiftKey" | "altKey", boolean>> = {},
  ) => commandOf({ key, ctrlKey: false, metaKey: false, shiftKey: false, altKey: false, ...held });

  it("find their command", () => {
    expect(press("z", { ctrlKey: true })).toBe("undo");
    expect(press("Z", { ctrlKey: true, shiftKey: true })).toBe("redo");
    expect(press("z")).toBe("zoomActual");
    expect(press("?", { shiftKey: true })).toBe("help");
    expect(press("+", { shiftKey: true })).toBe("zoomIn");
    expect(press("C", { shiftKey: true })).toBe("previousCandidate");
    expect(press("s", { altKey: true })).toBeNull();
    expect(press("s", { ctrlKey: true })).toBeNull();
  });

  it("are never given twice", () => {
    const keys = Object.values(SHORTCUTS).flatMap((shortcut) => shortcut.keys);
    expect(new Set(keys).size).toBe(keys.length);
  });

  it("are written as people read them", () => {
    expect(keyCaps("mod+shift+z", false)).toEqual(["Ctrl", "Shift", "Z"]);
    expect(keyCaps("mod+z", true)).toEqual(["⌘", "Z"]);
    expect(keyCaps("+", false)).toEqual(["+"]);
  });
});

describe("documents", () => {
  const now = "2026-01-01T00:00:00Z";
  const image = { image_id: 1, width: 20, height: 14, file_name: "a.png", sha256: "0".repeat(64) };
  const mask = randomMask(random(3), 20, 14);
  const annotation = {
    id: 4,
    ...maskKeys(mask, image),
    predicted_iou: 0.9,
    stability_score: 1,
    point_coords: [],
    colour_of_my_own: 1,
  };
  const document = { ...newDocument(image, now), annotations: [annotation], mine: { kept: true } };

  it("come back from JSON with the keys nobody knows", () => {
    const read = readDocument(JSON.parse(JSON.stringify(document)), now);
    expect(read).toMatchObject({ mine: { kept: true } });
    expect(read.annotations[0]).toMatchObject({ colour_of_my_own: 1, interaction: { prompts: [] } });
    expect(decodeRle(read.annotations[0]!.segmentation)).toEqual(mask);
    expect(nextId(read.annotations)).toBe(5);
  });

  it.each([
    ["not an object", []],
    ["another format", { ...document, format: "coco" }],
    ["no image", { ...document, image: undefined }],
    [
      "a mask of another size",
      { ...document, annotations: [{ ...annotation, segmentation: { size: [3, 3], counts: "9" } }] },
    ],
    [
      "cut counts",
      { ...document, annotations: [{ ...annotation, segmentation: { size: [14, 20], counts: "0" } }] },
    ],
    ["a wrong area", { ...document, annotations: [{ ...annotation, area: 1 }] }],
    ["ids twice", { ...document, annotations: [annotation, annotation] }],
  ])("refuse %s with a message that says what to do", (_, value) => {
    expect(() => readDocument(JSON.parse(JSON.stringify(value)), now)).toThrow(/must.*got .*\. \w/s);
  });

  it("describe an empty mask without negative numbers", () => {
    const keys = maskKeys(EMPTY, image);
    expect(keys.area).toBe(0);
    expect(keys.bbox).toEqual([0, 0, 0, 0]);
    expect(encodeRle(EMPTY, image).counts).toBe(keys.segmentation.counts);
  });

  it("give files plain names", () => {
    expect(stemOf("my photo (1).JPG")).toBe("my_photo_1");
    expect(stemOf("../../etc/passwd")).toBe("etc_passwd");
    expect(stemOf("....")).toBe("photo");
    expect(stemOf("Bär.webp")).toBe("Bär");
  });
});

describe("small things", () => {
  it("SHA-256 written out is SHA-256", () => {
    const draw = random(9);
    for (const length of [0, 1, 55, 56, 63, 64, 65, 1000]) {
      const bytes = Uint8Array.from({ length }, () => draw() * 256);
      expect(sha256HexSlow(bytes)).toBe(createHash("sha256").update(bytes).digest("hex"));
    }
  });

  it("active time leaves long pauses out", () => {
    let activity = worked(NO_ACTIVITY, 1000);
    activity = worked(activity, 3000);
    expect(activity.seconds).toBe(2);
    activity = worked(activity, 3_600_000);
    expect(activity.seconds).toBe(17);
  });
});
