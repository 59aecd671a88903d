// Draws the stage: the photo on one canvas, everything above it on another, both at the device's own resolution.

import type { Bitmap } from "../../core/bitmap";
import { withAlpha } from "../../core/colours";
import type { Box, Point, Size } from "../../core/frames";
import type { PromptEvent } from "../../core/prompt";
import type { Stroke } from "../../core/strokes";
import { toStage, type View } from "../../core/view";
import type { Picture } from "../../state/photos";
import { pathOf } from "./shapes";

export interface ShownMask {
  readonly mask: Bitmap;
  readonly colour: string;
  readonly isStrong: boolean;
  /** Found by a model, checked by nobody yet: drawn with a dashed line. */
  readonly isDashed: boolean;
}

export interface Scene {
  readonly masks: readonly ShownMask[];
  readonly draft: { readonly mask: Bitmap; readonly colour: string; readonly stroke: Stroke | null } | null;
  readonly preview: { readonly mask: Bitmap; readonly size: Size; readonly colour: string } | null;
  readonly events: readonly PromptEvent[];
  readonly dragged: Box | null;
  readonly brush: { readonly at: Point; readonly radius: number; readonly isErasing: boolean } | null;
  readonly crosshair: Point | null;
}

const FOREGROUND = "#1fa653";
const BACKGROUND = "#e0453a";
const TAU = Math.PI * 2;

function sized(canvas: HTMLCanvasElement | OffscreenCanvas, size: Size, ratio: number): void {
  const width = Math.max(1, Math.round(size.width * ratio));
  const height = Math.max(1, Math.round(size.height * ratio));
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
}

type Context = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

export class Renderer {
  private readonly photo: CanvasRenderingContext2D;
  private readonly over: CanvasRenderingContext2D;
  private readonly layer = new OffscreenCanvas(1, 1).getContext("2d")!;
  private ratio = 1;

  constructor(
    private readonly photoCanvas: HTMLCanvasElement,
    private readonly overCanvas: HTMLCanvasElement,
  ) {
    this.photo = photoCanvas.getContext("2d", { alpha: true })!;
    this.over = overCanvas.getContext("2d", { alpha: true })!;
  }

  drawPhoto(picture: Picture, view: View, size: Size): void {
    this.ratio = devicePixelRatio;
    sized(this.photoCanvas, size, this.ratio);
    const context = this.photo;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.photoCanvas.width, this.photoCanvas.height);
    const zoom = view.zoom * this.ratio;
    // Enlarged, every pixel is shown as the square it is.
    context.imageSmoothingEnabled = zoom < 2;
    context.imageSmoothingQuality = "high";
    const { width, height } = picture.size;
    context.drawImage(
      picture.at(zoom),
      view.x * this.ratio,
      view.y * this.ratio,
      width * zoom,
      height * zoom,
    );
  }

  drawOver(scene: Scene, view: View, size: Size): void {
    this.ratio = devicePixelRatio;
    sized(this.overCanvas, size, this.ratio);
    const context = this.over;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.overCanvas.width, this.overCanvas.height);
    for (const shown of scene.masks) {
      const { mask, colour, isStrong, isDashed } = shown;
      const fill = (isStrong ? 0.5 : 0.32) * (isDashed ? 0.6 : 1);
      this.drawMask(mask, view, colour, fill, isStrong ? 2 : isDashed ? 1.75 : 1.25, isDashed);
    }
    if (scene.preview) this.drawPreview(scene.preview, view);
    if (scene.draft) this.drawDraft(scene.draft, view, size);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    this.drawPrompts(scene.events, view);
    if (scene.dragged) drawBox(context, scene.dragged, view);
    if (scene.brush) drawBrush(context, scene.brush.at, scene.brush.radius, scene.brush.isErasing);
    if (scene.crosshair) drawCrosshair(context, toStage(view, scene.crosshair));
  }

  /** From pixels of a mask, `scale` photo pixels each, to pixels of the screen. */
  private place(context: Context, view: View, scaleX = 1, scaleY = 1): void {
    const zoom = view.zoom * this.ratio;
    context.setTransform(zoom * scaleX, 0, 0, zoom * scaleY, view.x * this.ratio, view.y * this.ratio);
  }

  private drawMask(
    mask: Bitmap,
    view: View,
    colour: string,
    fill: number,
    line: number,
    isDashed = false,
  ): void {
    if (mask.data.length === 0) return;
    const context = this.over;
    const path = pathOf(mask, view.zoom * this.ratio);
    this.place(context, view);
    context.fillStyle = withAlpha(colour, fill);
    context.fill(path, "evenodd");
    context.lineJoin = "round";
    if (isDashed) {
      context.lineWidth = (line + 1) / view.zoom;
      context.strokeStyle = "rgba(0, 0, 0, 0.65)";
      context.stroke(path);
      context.setLineDash([7 / view.zoom, 5 / view.zoom]);
    } else if (line >= 2) {
      context.lineWidth = (line + 2) / view.zoom;
      context.strokeStyle = "rgba(255, 255, 255, 0.85)";
      context.stroke(path);
    }
    context.lineWidth = line / view.zoom;
    context.strokeStyle = colour;
    context.stroke(path);
    context.setLineDash([]);
  }

  private drawPreview(preview: NonNullable<Scene["preview"]>, view: View): void {
    const { mask, size, colour } = preview;
    if (mask.data.length === 0) return;
    const context = this.over;
    const scale = size.width > 0 ? this.photoSize.width / size.width : 1;
    const scaleY = size.height > 0 ? this.photoSize.height / size.height : 1;
    const path = pathOf(mask, view.zoom * this.ratio * scale);
    this.place(context, view, scale, scaleY);
    context.fillStyle = withAlpha(colour, 0.26);
    context.fill(path, "evenodd");
    context.lineWidth = 1.5 / view.zoom / scale;
    context.strokeStyle = withAlpha(colour, 0.9);
    context.stroke(path);
  }

  /** Set by the stage; the preview's pixels are larger than the photo's. */
  photoSize: Size = { width: 1, height: 1 };

  /** The mask being made and the stroke being drawn, as one flat shape. */
  private drawDraft(draft: NonNullable<Scene["draft"]>, view: View, size: Size): void {
    const { mask, colour, stroke } = draft;
    if (stroke === null) {
      this.drawMask(mask, view, colour, 0.45, 2);
      return;
    }
    const layer = this.layer;
    sized(layer.canvas, size, this.ratio);
    layer.setTransform(1, 0, 0, 1, 0, 0);
    layer.clearRect(0, 0, layer.canvas.width, layer.canvas.height);
    this.place(layer, view);
    layer.fillStyle = colour;
    layer.strokeStyle = colour;
    layer.globalCompositeOperation = "source-over";
    if (mask.data.length > 0) layer.fill(pathOf(mask, view.zoom * this.ratio), "evenodd");
    layer.globalCompositeOperation = stroke.kind === "brush" ? "source-over" : "destination-out";
    layer.lineCap = "round";
    layer.lineJoin = "round";
    layer.lineWidth = stroke.radius * 2;
    layer.beginPath();
    stroke.path.forEach(([x, y], i) => {
      if (i === 0) layer.moveTo(x, y);
      layer.lineTo(x, y);
    });
    layer.stroke();
    const context = this.over;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.globalAlpha = 0.5;
    context.drawImage(layer.canvas, 0, 0);
    context.globalAlpha = 1;
  }

  private drawPrompts(events: readonly PromptEvent[], view: View): void {
    const box = events.filter((event) => event.kind === "box").at(-1);
    if (box) drawBox(this.over, box.xyxy, view);
    for (const event of events) {
      if (event.kind === "point") drawPoint(this.over, toStage(view, event), event.label);
    }
  }
}

function drawPoint(context: Context, { x, y }: Point, label: 0 | 1): void {
  context.beginPath();
  context.arc(x, y, 7, 0, TAU);
  context.fillStyle = label === 1 ? FOREGROUND : BACKGROUND;
  context.shadowColor = "rgba(0, 0, 0, 0.45)";
  context.shadowBlur = 5;
  context.fill();
  context.shadowBlur = 0;
  context.lineWidth = 1.75;
  context.strokeStyle = "#fff";
  context.stroke();
  context.beginPath();
  context.moveTo(x - 3, y);
  context.lineTo(x + 3, y);
  if (label === 1) {
    context.moveTo(x, y - 3);
    context.lineTo(x, y + 3);
  }
  context.stroke();
}

function drawBox(context: Context, box: Box, view: View): void {
  const [from, to] = [toStage(view, { x: box[0], y: box[1] }), toStage(view, { x: box[2], y: box[3] })];
  const rectangle = [from.x, from.y, to.x - from.x, to.y - from.y] as const;
  context.setLineDash([]);
  context.lineWidth = 3;
  context.strokeStyle = "rgba(0, 0, 0, 0.45)";
  context.strokeRect(...rectangle);
  context.lineWidth = 1.5;
  context.strokeStyle = "#fff";
  context.setLineDash([6, 4]);
  context.strokeRect(...rectangle);
  context.setLineDash([]);
}

function drawBrush(context: Context, { x, y }: Point, radius: number, isErasing: boolean): void {
  for (const [width, colour] of [
    [3, "rgba(0, 0, 0, 0.5)"],
    [1.25, "#fff"],
  ] as const) {
    context.beginPath();
    context.arc(x, y, Math.max(radius, 1.5), 0, TAU);
    context.lineWidth = width;
    context.strokeStyle = colour;
    if (isErasing) context.setLineDash([4, 3]);
    context.stroke();
    context.setLineDash([]);
  }
}

function drawCrosshair(context: Context, { x, y }: Point): void {
  for (const [width, colour] of [
    [3.5, "rgba(0, 0, 0, 0.6)"],
    [1.5, "#fff"],
  ] as const) {
    context.beginPath();
    for (const [dx, dy] of [
      [1, 0],
      [-1, 0],
      [0, 1],
      [0, -1],
    ] as const) {
      context.moveTo(x + dx * 4, y + dy * 4);
      context.lineTo(x + dx * 14, y + dy * 14);
    }
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.stroke();
  }
}
