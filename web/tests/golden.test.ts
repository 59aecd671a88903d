// The page and Python agree: frames, resize, run lengths, upscaling, hints, suppression, exports.

import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { bitmapArea, extent } from "../src/core/bitmap";
import { distinctColour } from "../src/core/colours";
import { fillSmallHoles, removeSmallIslands } from "../src/core/components";
import { type Annotation, type AnnotationDocument, FORMAT } from "../src/core/document";
import { toCoco, toSa1b } from "../src/core/exports";
import { type Box, frameOf, lowResCut, toCanvas } from "../src/core/frames";
import { maskToLogits } from "../src/core/hint";
import { imageIdFor } from "../src/core/ids";
import { boxNms, maskNms } from "../src/core/nms";
import { resizeAntialiased, resizeLongestSide, toModelInput } from "../src/core/resize";
import { decodeRle, encodeRle, type Rle, rleArea, runsOf, textToRuns } from "../src/core/rle";
import { gridPoints, mergeCandidates, REFERENCE_KNOBS } from "../src/core/sweep";
import { Upscaler } from "../src/core/upscale";
import { bitmapOf, bytesOf, floatsOf, golden, painted } from "./golden";

type Pair = [number, number];

describe("frames", () => {
  interface Case {
    original: Pair;
    canvas: number;
    low_res: number;
    resized: Pair;
    cut: Pair;
    points: Pair[];
    on_canvas: Pair[];
  }
  it.each(golden<Case[]>("frames"))("$original on $canvas", (known) => {
    const [height, width] = known.original;
    const frame = frameOf({ width, height }, known.canvas, known.low_res);
    expect([frame.resized.height, frame.resized.width]).toEqual(known.resized);
    expect([lowResCut(frame).height, lowResCut(frame).width]).toEqual(known.cut);
    known.points.forEach(([x, y], i) => {
      const point = toCanvas(frame, { x, y });
      expect(point.x).toBeCloseTo(known.on_canvas[i]![0], 9);
      expect(point.y).toBeCloseTo(known.on_canvas[i]![1], 9);
    });
  });
});

describe("resize", () => {
  interface Case {
    size: Pair;
    canvas?: number;
    target?: Pair;
    out: Pair;
    rgb?: string;
    sha256?: string;
  }
  const { cases, model_input } = golden<{
    cases: Case[];
    model_input: { size: Pair; canvas: number; mean: number[]; std: number[]; pixels: string };
  }>("resize");

  it.each(cases)("is Pillow's to the byte: $size to $out", (known) => {
    const photo = painted(...known.size);
    const rgb = known.target
      ? resizeAntialiased(photo, { height: known.target[0], width: known.target[1] })
      : resizeLongestSide(photo, known.canvas!);
    expect(rgb.length).toBe(known.out[0] * known.out[1] * 3);
    if (known.rgb !== undefined) expect(Array.from(rgb)).toEqual(Array.from(bytesOf(known.rgb)));
    else expect(createHash("sha256").update(rgb).digest("hex")).toBe(known.sha256);
  });

  it("normalises and pads as Python does", () => {
    const { size, canvas, mean, std, pixels } = model_input;
    const photo = painted(...size);
    const frame = frameOf(photo, canvas, 4);
    const input = toModelInput(resizeLongestSide(photo, canvas), frame, mean, std);
    const wanted = floatsOf(pixels);
    expect(input.length).toBe(wanted.length);
    for (let i = 0; i < wanted.length; i++) expect(Math.abs(input[i]! - wanted[i]!)).toBeLessThan(1e-6);
  });
});

describe("masks", () => {
  interface Case {
    pixels: string;
    rle: Rle;
    runs: number[];
    area: number;
    bbox: number[];
    exact: number[];
    filled: [string, boolean];
    cleared: [string, boolean];
  }
  it.each(golden<Case[]>("masks"))("run lengths of $rle.size, area $area", (known) => {
    const [height, width] = known.rle.size;
    const photo = { width, height };
    const mask = bitmapOf(bytesOf(known.pixels), height, width);
    expect(runsOf(mask, photo)).toEqual(known.runs);
    expect(encodeRle(mask, photo)).toEqual(known.rle);
    expect(textToRuns(known.rle.counts)).toEqual(known.runs);
    expect(decodeRle(known.rle)).toEqual(mask);
    expect(rleArea(known.rle)).toBe(known.area);
    expect(bitmapArea(mask)).toBe(known.area);
    const box = extent(mask);
    const exact = box === null ? [0, 0, 0, 0] : [box[0], box[1], box[2] - box[0], box[3] - box[1]];
    expect(exact).toEqual(known.exact);
    const filled = fillSmallHoles(mask, 6, photo);
    expect([encodeRle(filled.mask, photo).counts, filled.changed]).toEqual(known.filled);
    const cleared = removeSmallIslands(mask, 6);
    expect([encodeRle(cleared.mask, photo).counts, cleared.changed]).toEqual(known.cleared);
  });
});

describe("upscaling", () => {
  interface Case {
    size: Pair;
    canvas: number;
    low_res: number;
    logits: string;
    mask: Rle;
    stability: number;
    at: [number, number, number][];
  }
  it.each(golden<Case[]>("upscale"))("logits to $size", (known) => {
    const [height, width] = known.size;
    const frame = frameOf({ width, height }, known.canvas, known.low_res);
    const logits = floatsOf(known.logits);
    const upscaler = new Upscaler(frame);
    const rows: Float32Array[] = [];
    upscaler.forRows(logits, { x: 0, y: 0, width, height }, (row) => rows.push(row.slice()));
    for (const [row, column, value] of known.at) expect(rows[row]![column]).toBeCloseTo(value, 4);
    expect(upscaler.stability(logits)).toBeCloseTo(known.stability, 4);
    const mask = upscaler.mask(logits);
    // A logit within rounding of 0 may fall on either side: nearly all pixels must agree, not every one.
    const wanted = decodeRle(known.mask);
    const differing = rows.reduce((count, row, y) => {
      const inside = (m: typeof mask, x: number) =>
        y >= m.y && y < m.y + m.height && x >= m.x && x < m.x + m.width
          ? m.data[(y - m.y) * m.width + x - m.x]!
          : 0;
      return count + row.reduce((n, _, x) => n + (inside(mask, x) !== inside(wanted, x) ? 1 : 0), 0);
    }, 0);
    expect(differing).toBeLessThanOrEqual(1);
  });
});

describe("hints", () => {
  interface Case {
    mask: Rle;
    canvas: number;
    low_res: number;
    logits: string;
  }
  it.each(golden<Case[]>("hints"))("a mask of $mask.size as logits", (known) => {
    const [height, width] = known.mask.size;
    const logits = maskToLogits(
      decodeRle(known.mask),
      frameOf({ width, height }, known.canvas, known.low_res),
    );
    const wanted = floatsOf(known.logits);
    expect(logits.length).toBe(wanted.length);
    for (let i = 0; i < wanted.length; i++) expect(Math.abs(logits[i]! - wanted[i]!)).toBeLessThan(0.02);
  });
});

describe("suppression", () => {
  const known = golden<{
    boxes: [number, number, number, number][];
    scores: number[];
    kept: Record<string, number[]>;
    masks: Rle[];
    mask_scores: number[];
    masks_kept: Record<string, number[]>;
    contained_kept: Record<string, number[]>;
  }>("suppression");

  it.each(Object.entries(known.kept))("of boxes at %s", (threshold, kept) => {
    expect(boxNms(known.boxes as Box[], known.scores, Number(threshold))).toEqual(kept);
  });
  const masks = known.masks.map(decodeRle);
  it.each(Object.entries(known.masks_kept))("of masks at %s", (threshold, kept) => {
    expect(maskNms(masks, known.mask_scores, Number(threshold))).toEqual(kept);
  });
  it.each(Object.entries(known.contained_kept))("of contained masks at %s", (threshold, kept) => {
    const candidates = masks.map((mask, i) => ({
      mask,
      box: [0, 0, 0, 0] as Box,
      predictedIou: known.mask_scores[i]!,
      stability: 1,
      point: { x: i, y: 0 },
      outputIndex: 1,
    }));
    const photo = { width: 30, height: 24 };
    const left = mergeCandidates(candidates, photo, {
      ...REFERENCE_KNOBS,
      containment_thresh: Number(threshold),
    });
    expect(left.map((candidate) => candidate.point.x)).toEqual(kept);
  });
});

describe("exports", () => {
  interface Sa1b {
    image: { image_id: number; width: number; height: number; file_name: string };
    annotations: Annotation[];
  }
  const known = golden<{ sa1b: Sa1b[]; coco: unknown }>("exports");
  const when = "2026-01-01T00:00:00Z";
  const documents: AnnotationDocument[] = known.sa1b.map(({ image, annotations }) => ({
    format: FORMAT,
    image: { ...image, sha256: "0".repeat(64) },
    created: when,
    modified: when,
    active_seconds: 1,
    annotations: annotations.map((annotation) => ({
      ...annotation,
      interaction: {
        prompts: [],
        created: when,
        modified: when,
        active_seconds: 0,
        chosen: null,
        model: null,
      },
      view: { colour: "#123456", hidden: false },
    })),
  }));

  it("writes SA-1B's JSON as Python does", () => {
    expect(documents.map(toSa1b)).toEqual(known.sa1b);
  });
  it("writes COCO's dataset as Python does", () => {
    expect(toCoco(documents)).toEqual(known.coco);
  });
});

describe("small rules", () => {
  const known = golden<{
    colours: string[];
    ids: { name: string; sha256: string; id: number }[];
    grid: Record<string, Pair[]>;
  }>("misc");

  it("gives the same colours", () => {
    expect(known.colours.map((_, i) => distinctColour(i))).toEqual(known.colours);
  });
  it("gives photos the same numbers", () => {
    expect(known.ids.map(({ name, sha256 }) => imageIdFor(name, sha256))).toEqual(
      known.ids.map(({ id }) => id),
    );
  });
  it.each(Object.entries(known.grid))("clicks on the same grid of %s", (side, points) => {
    const clicks = gridPoints(Number(side), { width: 300, height: 200 });
    expect(clicks.length).toBe(points.length);
    clicks.forEach(({ x, y }, i) => {
      expect(x / 300).toBeCloseTo(points[i]![0], 12);
      expect(y / 200).toBeCloseTo(points[i]![1], 12);
    });
  });
});
