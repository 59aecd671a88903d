// The photo with its blurred regions, as a release will show them, and a brush that adds more.

import { useEffect, useRef, useState } from "preact/hooks";
import type { Point } from "../../core/frames";
import type { Stroke } from "../../core/strokes";
import type { ToClear } from "../../service/team";
import { brushRadius } from "../../state/preferences";
import type { StageState } from "../../state/stage";
import type { Clearing } from "../../state/team/clearing";

interface Props {
  readonly work: Clearing;
  readonly item: ToClear;
  readonly stage: StageState;
  readonly photo: string;
}

export function BlurStage({ work, item, stage, photo }: Props) {
  const root = useRef<HTMLDivElement>(null);
  const [path, setPath] = useState<readonly (readonly [number, number])[]>([]);
  const [pointer, setPointer] = useState<Point | null>(null);
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => {
      const { width, height } = entry!.contentRect;
      if (width > 0 && height > 0) stage.resize({ width, height });
    });
    watch.observe(root.current!);
    const wheel = (event: WheelEvent) => {
      event.preventDefault();
      const { left, top } = root.current!.getBoundingClientRect();
      stage.zoom(Math.exp(-event.deltaY * 0.0016), { x: event.clientX - left, y: event.clientY - top });
    };
    root.current!.addEventListener("wheel", wheel, { passive: false });
    return () => watch.disconnect();
  }, [stage]);
  const view = stage.view.value;
  const { width, height } = item.image;
  const at = (event: PointerEvent): Point => {
    const { left, top } = root.current!.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  };
  const onPhoto = (event: PointerEvent): readonly [number, number] => {
    const { x, y } = stage.toPhoto(at(event));
    return [x, y];
  };
  const finish = () => {
    if (path.length === 0) return;
    const stroke: Stroke = { kind: "brush", radius: brushRadius.value / view.zoom, path };
    setPath([]);
    void work.paint(stroke);
  };
  const lines = item.regions.map((one) => one.outline.map((corner) => corner.join(",")).join(" "));
  const blur = Math.max(6, Math.max(width, height) / 60);
  return (
    <div
      ref={root}
      class="stage"
      style={{ cursor: "none" }}
      tabIndex={0}
      role="application"
      aria-label={`${item.image.file_name}. Drag to blur. J and K go through the regions, Delete takes one back, Y clears.`}
      data-testid="blur-stage"
      data-view={[view.zoom, view.x, view.y].join(" ")}
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        root.current!.setPointerCapture(event.pointerId);
        root.current!.focus({ preventScroll: true });
        setPath([onPhoto(event)]);
      }}
      onPointerMove={(event) => {
        setPointer(at(event));
        if (path.length > 0) setPath([...path, onPhoto(event)]);
      }}
      onPointerUp={finish}
      onPointerCancel={() => setPath([])}
      onPointerLeave={() => setPointer(null)}
    >
      <svg class="blur-stage" width="100%" height="100%" aria-hidden="true">
        <defs>
          <filter id="blur" x="-5%" y="-5%" width="110%" height="110%">
            <feGaussianBlur stdDeviation={blur} />
          </filter>
          <clipPath id="regions">
            {lines.map((points) => (
              <polygon key={points} points={points} />
            ))}
          </clipPath>
        </defs>
        <g transform={`translate(${view.x} ${view.y}) scale(${view.zoom})`}>
          <image href={photo} width={width} height={height} />
          <g clip-path="url(#regions)">
            <image href={photo} width={width} height={height} filter="url(#blur)" />
          </g>
          {item.regions.map((one, i) => (
            <polygon
              key={one.id}
              class={`blurred${work.chosen.value === one.id ? " blurred-chosen" : ""}`}
              points={lines[i]}
              vector-effect="non-scaling-stroke"
            />
          ))}
          {path.length > 0 && (
            <polyline
              class="blur-stroke"
              points={[...path, path.at(-1)!].map((point) => point.join(",")).join(" ")}
              stroke-width={(2 * brushRadius.value) / view.zoom}
            />
          )}
        </g>
        {pointer && <circle class="blur-tip" cx={pointer.x} cy={pointer.y} r={brushRadius.value} />}
      </svg>
    </div>
  );
}
