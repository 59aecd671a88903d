// The stage: shows the photo and the masks, and turns pointers into clicks, boxes, strokes, pan and zoom.

import { effect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { distinctColour } from "../../core/colours";
import { isFoundByModel } from "../../core/document";
import type { Point } from "../../core/frames";
import { type Gesture, IDLE, moved, pressed, released } from "../../core/gesture";
import { boxOf } from "../../core/prompt";
import { insidePhoto, toStage } from "../../core/view";
import { colourOf, isHidden, newColour } from "../../core/work";
import { type Annotator, maskOf } from "../../state/annotator";
import type { Picture } from "../../state/photos";
import { brushRadius, isPreviewing, tapMeans, tool } from "../../state/preferences";
import type { StageState } from "../../state/stage";
import { Renderer, type Scene, type ShownMask } from "./renderer";

interface Props {
  readonly annotator: Annotator;
  readonly picture: Picture;
  readonly stage: StageState;
}

function shownMasks(annotator: Annotator): ShownMask[] {
  const { document, draft, found } = annotator.work.value;
  const selected = annotator.selected.value;
  const accepted = document.annotations
    .filter((one) => !isHidden(one) && one.id !== draft?.base?.id)
    .map((one) => ({
      mask: maskOf(one.segmentation),
      colour: colourOf(one),
      isStrong: one.id === selected && draft === null && found === null,
      isDashed: isFoundByModel(one),
    }));
  const pointed = annotator.pointed.value;
  const offered = (found ?? []).map((one, i) => ({
    mask: maskOf(one.segmentation),
    colour: distinctColour(i + document.annotations.length),
    isStrong: i === pointed,
    isDashed: false,
  }));
  // Large ones below, so that small ones stay visible; the strong one on top of all.
  offered.sort((a, b) => Number(a.isStrong) - Number(b.isStrong) || b.mask.data.length - a.mask.data.length);
  return [...accepted, ...offered];
}

function sceneOf({ annotator, stage }: Props): Scene {
  const { document, draft } = annotator.work.value;
  const stroke = stage.stroke.value;
  const mask = annotator.mask.value;
  const colour = draft?.base ? colourOf(draft.base) : newColour(document);
  const isBrush = (tool.value === "brush" || tool.value === "erase") && !stage.isPanning.value;
  const at = stage.pointer.value;
  const preview = annotator.preview.value;
  const dragged = stage.dragged.value;
  const corner = annotator.corner.value;
  const crosshair = annotator.crosshair.value;
  const box = dragged ?? (corner && crosshair ? { from: corner, to: crosshair } : null);
  const { width, height } = annotator.photo;
  const selected = document.annotations.find((one) => one.id === annotator.selected.value);
  const under = mask ?? (stroke && selected ? maskOf(selected.segmentation) : null);
  return {
    masks: shownMasks(annotator),
    draft:
      draft !== null || stroke !== null
        ? { mask: under ?? { x: 0, y: 0, width: 0, height: 0, data: new Uint8Array(0) }, colour, stroke }
        : null,
    // What was seen under the pointer stays until the click's own mask is there.
    preview: preview && isPreviewing.value && !mask?.data.length ? { ...preview, colour } : null,
    events: draft?.events ?? [],
    dragged: box && boxOf(box.from, box.to, width, height),
    brush: isBrush && at ? { at, radius: brushRadius.value, isErasing: tool.value === "erase" } : null,
    crosshair,
  };
}

const KEYS =
  "Arrow keys move the crosshair, F and D set foreground and background clicks, X a box, Enter accepts, " +
  "question mark shows all keys.";

export function Stage(props: Props) {
  const { annotator, picture, stage } = props;
  const root = useRef<HTMLDivElement>(null);
  const photo = useRef<HTMLCanvasElement>(null);
  const over = useRef<HTMLCanvasElement>(null);

  useEffect(() => {
    const renderer = new Renderer(photo.current!, over.current!);
    renderer.photoSize = annotator.photo;
    let frame = 0;
    let [photoIsOld, overIsOld] = [true, true];
    const draw = () => {
      frame = 0;
      const [view, size] = [stage.view.value, stage.size.value];
      // Where the photo is, for whoever drives the page from outside.
      root.current!.dataset.view = [view.zoom, view.x, view.y].join(" ");
      if (photoIsOld) renderer.drawPhoto(picture, view, size);
      if (overIsOld) renderer.drawOver(sceneOf(props), view, size);
      photoIsOld = overIsOld = false;
    };
    const later = () => {
      if (frame === 0) frame = requestAnimationFrame(draw);
    };
    const stopPhoto = effect(() => {
      void [stage.view.value, stage.size.value];
      photoIsOld = overIsOld = true;
      later();
    });
    const stopOver = effect(() => {
      sceneOf(props);
      overIsOld = true;
      later();
    });
    const watch = new ResizeObserver(([entry]) => {
      const { width, height } = entry!.contentRect;
      if (width > 0 && height > 0) stage.resize({ width, height });
    });
    watch.observe(root.current!);
    return () => {
      stopPhoto();
      stopOver();
      watch.disconnect();
      cancelAnimationFrame(frame);
    };
  }, [annotator]);

  useEffect(() => new Pointers(props, root.current!).listen(), [annotator]);

  const cursor = stage.isPanning.value
    ? "grabbing"
    : { segment: "crosshair", select: "default", brush: "none", erase: "none", pan: "grab" }[tool.value];
  return (
    <div
      class="stage"
      ref={root}
      style={{ cursor }}
      tabIndex={0}
      role="application"
      aria-label={`${annotator.photo.name}, ${annotator.photo.width} by ${annotator.photo.height} pixels. ${KEYS}`}
      data-testid="stage"
      data-prepared={annotator.isPrepared.value}
    >
      <canvas ref={photo} class="stage-canvas" aria-hidden="true" />
      <canvas ref={over} class="stage-canvas" aria-hidden="true" />
    </div>
  );
}

/** Pointers on the stage, until the returned function is called. */
class Pointers {
  private gesture: Gesture = IDLE;
  private readonly touches = new Map<number, Point>();
  private path: [number, number][] = [];
  private panFrom: Point | null = null;
  private isSpaceDown = false;

  constructor(
    private readonly props: Props,
    private readonly canvas: HTMLElement,
  ) {}

  listen(): () => void {
    const end = new AbortController();
    const options = { signal: end.signal };
    const on = <K extends keyof HTMLElementEventMap>(
      name: K,
      handler: (event: HTMLElementEventMap[K]) => void,
    ) => this.canvas.addEventListener(name, handler, { ...options, passive: false });
    on("pointerdown", (event) => this.down(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.up(event));
    on("pointercancel", (event) => this.cancel(event));
    on("pointerleave", () => this.leave());
    on("wheel", (event) => this.wheel(event));
    on("contextmenu", (event) => event.preventDefault());
    on("dblclick", (event) => this.double(event));
    addEventListener("keydown", (event) => this.space(event, true), options);
    addEventListener("keyup", (event) => this.space(event, false), options);
    addEventListener("blur", () => this.setSpace(false), options);
    return () => end.abort();
  }

  private at(event: MouseEvent): Point {
    const { left, top } = this.canvas.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  private photoAt(point: Point): Point {
    return this.props.stage.toPhoto(point);
  }

  private space(event: KeyboardEvent, isDown: boolean): void {
    if (event.code !== "Space") return;
    const target = event.target as HTMLElement;
    if (isDown && target !== this.canvas && target !== document.body) return;
    if (isDown) event.preventDefault();
    this.setSpace(isDown);
  }

  private setSpace(isDown: boolean): void {
    this.isSpaceDown = isDown;
    if (this.panFrom === null) this.props.stage.isPanning.value = isDown;
  }

  private down(event: PointerEvent): void {
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    const at = this.at(event);
    const { annotator, stage } = this.props;
    annotator.crosshair.value = null;
    annotator.corner.value = null;
    if (event.pointerType === "touch") {
      this.touches.set(event.pointerId, at);
      if (this.touches.size > 1) {
        this.abandon();
        return;
      }
    }
    if (event.button === 1 || this.isSpaceDown || tool.value === "pan") {
      this.panFrom = at;
      stage.isPanning.value = true;
      return;
    }
    if (tool.value === "brush" || tool.value === "erase") {
      if (event.button === 0) this.begin(at);
      return;
    }
    this.gesture = pressed(at, event.button, event.timeStamp);
  }

  private begin(at: Point): void {
    const { x, y } = this.photoAt(at);
    this.path = [[x, y]];
    this.showStroke();
  }

  private showStroke(): void {
    const { stage } = this.props;
    const kind = tool.value === "erase" ? "erase" : "brush";
    const radius = brushRadius.value / stage.view.value.zoom;
    stage.stroke.value = { kind, radius, path: [...this.path] };
  }

  private move(event: PointerEvent): void {
    const { stage, annotator } = this.props;
    const at = this.at(event);
    stage.pointer.value = event.pointerType === "touch" ? null : at;
    if (this.touches.has(event.pointerId) && this.touches.size === 2) {
      this.pinch(event.pointerId, at);
      return;
    }
    if (this.panFrom) {
      stage.pan(at.x - this.panFrom.x, at.y - this.panFrom.y);
      this.panFrom = at;
      return;
    }
    if (this.path.length > 0) {
      this.follow(event);
      return;
    }
    this.gesture = moved(this.gesture, at);
    if (this.gesture.kind === "drag" && tool.value === "segment" && this.gesture.button === 0) {
      if (annotator.work.value.found === null) {
        stage.dragged.value = { from: this.photoAt(this.gesture.from), to: this.photoAt(at) };
      }
    } else if (this.gesture.kind === "idle" && event.pointerType !== "touch") {
      this.hover(at);
    }
  }

  private follow(event: PointerEvent): void {
    const events = event.getCoalescedEvents?.() ?? [];
    for (const part of events.length > 0 ? events : [event]) {
      const { x, y } = this.photoAt(this.at(part));
      const [lastX, lastY] = this.path.at(-1)!;
      const step = 1 / this.props.stage.view.value.zoom;
      if (Math.hypot(x - lastX, y - lastY) >= step) {
        this.path.push([Math.round(x * 100) / 100, Math.round(y * 100) / 100]);
      }
    }
    this.showStroke();
  }

  private pinch(id: number, to: Point): void {
    const [first, second] = [...this.touches.entries()];
    const other = first![0] === id ? second![1] : first![1];
    const from = this.touches.get(id)!;
    const before = Math.hypot(from.x - other.x, from.y - other.y);
    const after = Math.hypot(to.x - other.x, to.y - other.y);
    const { stage } = this.props;
    stage.pan((to.x - from.x) / 2, (to.y - from.y) / 2);
    if (before > 0) stage.zoom(after / before, { x: (to.x + other.x) / 2, y: (to.y + other.y) / 2 });
    this.touches.set(id, to);
  }

  private hover(at: Point): void {
    const { annotator, stage } = this.props;
    const isOn = stage.isOnPhoto(at);
    if (annotator.work.value.found !== null) {
      annotator.pointed.value = isOn ? annotator.foundAt(this.photoAt(at)) : null;
      return;
    }
    if (tool.value !== "segment" || !isPreviewing.value || this.isSpaceDown) annotator.point(null);
    else annotator.point(isOn ? this.photoAt(at) : null);
  }

  private up(event: PointerEvent): void {
    const { stage, annotator } = this.props;
    const wasPinch = this.touches.size > 1;
    this.touches.delete(event.pointerId);
    if (wasPinch) return;
    if (this.panFrom) {
      this.panFrom = null;
      stage.isPanning.value = this.isSpaceDown;
      return;
    }
    if (this.path.length > 0) {
      const stroke = stage.stroke.value;
      this.path = [];
      if (stroke) annotator.stroke(stroke);
      stage.stroke.value = null;
      return;
    }
    const outcome = released(this.gesture, this.at(event), event.timeStamp, event.pointerType === "touch");
    this.gesture = IDLE;
    stage.dragged.value = null;
    if (outcome.kind === "click") this.click(outcome.at, outcome.button);
    if (outcome.kind === "box" && tool.value === "segment" && annotator.work.value.found === null) {
      const { width, height } = annotator.photo;
      const box = boxOf(this.photoAt(outcome.from), this.photoAt(outcome.to), width, height);
      if (box) annotator.box(box);
    }
  }

  private click(at: Point, button: number): void {
    const { annotator, stage } = this.props;
    if (!stage.isOnPhoto(at)) return;
    const point = insidePhoto(this.photoAt(at), annotator.photo);
    if (annotator.work.value.found !== null) {
      const index = annotator.foundAt(point);
      if (index === null) return;
      if (button === 2) annotator.dropFound(index);
      else annotator.pick([index]);
    } else if (tool.value === "select") {
      annotator.selected.value = annotator.maskAt(point);
    } else if (tool.value === "segment") {
      const isBackground = button === 2 || (button === 0 && tapMeans.value === "background");
      if (button === 0 || button === 2) annotator.click(point, isBackground ? 0 : 1);
    }
  }

  private double(event: MouseEvent): void {
    const { annotator } = this.props;
    if (tool.value !== "select") return;
    const id = annotator.maskAt(this.photoAt(this.at(event)));
    if (id !== null) annotator.edit(id);
  }

  /** A second finger, or the system, ends what one finger had begun. */
  private abandon(): void {
    this.gesture = IDLE;
    this.path = [];
    this.panFrom = null;
    this.props.stage.dragged.value = null;
    this.props.stage.stroke.value = null;
    this.props.stage.isPanning.value = false;
  }

  private cancel(event: PointerEvent): void {
    this.touches.delete(event.pointerId);
    this.abandon();
  }

  private leave(): void {
    const { annotator, stage } = this.props;
    stage.pointer.value = null;
    if (this.gesture.kind === "idle") {
      annotator.point(null);
      annotator.pointed.value = null;
    }
  }

  private wheel(event: WheelEvent): void {
    event.preventDefault();
    const { stage } = this.props;
    const lines = event.deltaMode === 1 ? 16 : 1;
    if (event.shiftKey) stage.pan(-(event.deltaY || event.deltaX) * lines, 0);
    else stage.zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0016)), this.at(event));
  }
}

/** Moves the keyboard's crosshair; it starts in the middle of what is seen. */
export function moveCrosshair(
  annotator: Annotator,
  stage: StageState,
  dx: number,
  dy: number,
  fine: boolean,
): void {
  const { width, height } = stage.size.value;
  const before = annotator.crosshair.value;
  if (before === null) {
    annotator.crosshair.value = insidePhoto(stage.toPhoto({ x: width / 2, y: height / 2 }), annotator.photo);
  } else {
    const step = fine ? 1 : 12 / stage.view.value.zoom;
    annotator.crosshair.value = insidePhoto(
      { x: before.x + dx * step, y: before.y + dy * step },
      annotator.photo,
    );
  }
  const at = toStage(stage.view.value, annotator.crosshair.value);
  if (at.x < 0 || at.y < 0 || at.x > width || at.y > height) stage.pan(width / 2 - at.x, height / 2 - at.y);
  annotator.point(isPreviewing.value ? annotator.crosshair.value : null);
}
