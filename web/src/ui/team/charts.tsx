// Plots of the dashboard: bars and lines in SVG, colours of the page, numbers readable without the colours.

import { useState } from "preact/hooks";

export interface Series {
  readonly name: string;
  /** A colour of the page, such as "done". */
  readonly colour: string;
  readonly values: readonly number[];
}

const WIDTH = 640;
const HEIGHT = 190;
const LEFT = 36;
const BOTTOM = 24;
const TOP = 16;

/** A round number at or above. */
export function niceLimit(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 4, 6, 8, 10].find((one) => one * power >= value)!;
  return step * power;
}

function Frame({ limit, unit, labels }: { limit: number; unit: string; labels: readonly string[] }) {
  const slot = (WIDTH - LEFT) / Math.max(1, labels.length);
  const every = Math.ceil(labels.length / 8);
  return (
    <>
      {[0, 0.5, 1].map((share) => {
        const y = HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP);
        return (
          <g key={share}>
            <line class="chart-grid" x1={LEFT} x2={WIDTH} y1={y} y2={y} />
            <text class="chart-text" x={LEFT - 6} y={y} dy="0.35em" text-anchor="end">
              {short(limit * share)}
            </text>
          </g>
        );
      })}
      {labels.map(
        (label, i) =>
          (labels.length - 1 - i) % every === 0 && (
            <text
              key={label}
              class="chart-text"
              x={LEFT + slot * (i + 0.5)}
              y={HEIGHT - 7}
              text-anchor="middle"
            >
              {label}
            </text>
          ),
      )}
      <title>{unit}</title>
    </>
  );
}

export function short(value: number): string {
  if (value >= 10_000) return `${Math.round(value / 1000)}k`;
  return String(Number(value.toPrecision(3)));
}

interface ChartProps {
  readonly title: string;
  readonly labels: readonly string[];
  readonly series: readonly Series[];
  readonly limit?: number;
}

/** Stacked bars, one for every label. */
export function Bars({ title, labels, series }: ChartProps) {
  const [over, setOver] = useState<number | null>(null);
  const sums = labels.map((_, i) => series.reduce((sum, one) => sum + (one.values[i] ?? 0), 0));
  const limit = niceLimit(Math.max(...sums, 2));
  const slot = (WIDTH - LEFT) / Math.max(1, labels.length);
  const width = Math.min(34, slot * 0.62);
  const high = (value: number) => (value / limit) * (HEIGHT - BOTTOM - TOP);
  return (
    <figure class="chart">
      <Legend series={series} index={over} label={over === null ? null : labels[over]!} />
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`${title}: ${spoken(labels, series)}`}>
        <Frame limit={limit} unit={title} labels={labels} />
        {labels.map((label, i) => {
          let from = HEIGHT - BOTTOM;
          return (
            <g key={label} onPointerEnter={() => setOver(i)} onPointerLeave={() => setOver(null)}>
              <rect
                x={LEFT + slot * i}
                y={TOP}
                width={slot}
                height={HEIGHT - BOTTOM - TOP}
                class="chart-slot"
              />
              {series.map((one) => {
                const tall = high(one.values[i] ?? 0);
                from -= tall;
                if (tall <= 0) return null;
                return (
                  <rect
                    key={one.name}
                    class={`fill-${one.colour}`}
                    x={LEFT + slot * (i + 0.5) - width / 2}
                    y={from}
                    width={width}
                    height={Math.max(0.5, tall - 1)}
                    rx={1.5}
                  />
                );
              })}
            </g>
          );
        })}
      </svg>
    </figure>
  );
}

/** Lines with a dot at every value. */
export function Lines({ title, labels, series, limit: fixed }: ChartProps) {
  const [over, setOver] = useState<number | null>(null);
  const limit = fixed ?? niceLimit(Math.max(...series.flatMap((one) => one.values), 0));
  const slot = (WIDTH - LEFT) / Math.max(1, labels.length);
  const place = (i: number, value: number) =>
    [LEFT + slot * (i + 0.5), HEIGHT - BOTTOM - (value / limit) * (HEIGHT - BOTTOM - TOP)] as const;
  return (
    <figure class="chart">
      <Legend series={series} index={over} label={over === null ? null : labels[over]!} />
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`${title}: ${spoken(labels, series)}`}>
        <Frame limit={limit} unit={title} labels={labels} />
        {labels.map((label, i) => (
          <rect
            key={label}
            class="chart-slot"
            x={LEFT + slot * i}
            y={TOP}
            width={slot}
            height={HEIGHT - BOTTOM - TOP}
            onPointerEnter={() => setOver(i)}
            onPointerLeave={() => setOver(null)}
          />
        ))}
        {series.map((one) => {
          const points = one.values.map((value, i) => place(i, value));
          return (
            <g key={one.name} class={`line-${one.colour}`} pointer-events="none">
              <polyline points={points.map((point) => point.join(",")).join(" ")} />
              {points.map(([x, y]) => (
                <circle key={x} cx={x} cy={y} r={4} />
              ))}
            </g>
          );
        })}
      </svg>
    </figure>
  );
}

interface LegendProps {
  readonly series: readonly Series[];
  readonly index: number | null;
  readonly label: string | null;
}

function Legend({ series, index, label }: LegendProps) {
  return (
    <figcaption class="legend">
      {series.map((one) => (
        <span key={one.name}>
          <i class={`key-${one.colour}`} /> {one.name}
          {index !== null && <b>{short(one.values[index] ?? 0)}</b>}
        </span>
      ))}
      {label !== null && <span class="dim">{label}</span>}
    </figcaption>
  );
}

function spoken(labels: readonly string[], series: readonly Series[]): string {
  return labels
    .map(
      (label, i) => `${label}: ${series.map((one) => `${short(one.values[i] ?? 0)} ${one.name}`).join(", ")}`,
    )
    .join("; ");
}

export interface Part {
  readonly name: string;
  readonly colour: string;
  readonly count: number;
}

/** One bar whose parts make a whole. */
export function Shares({ parts, label }: { parts: readonly Part[]; label: string }) {
  const shown = parts.filter((part) => part.count > 0);
  const text = shown.map((part) => `${part.count} ${part.name}`).join(", ") || "nothing yet";
  return (
    <div class="shares">
      <div class="shares-bar" role="img" aria-label={`${label}: ${text}`}>
        {shown.map((part) => (
          <span key={part.name} class={`key-${part.colour}`} style={{ flexGrow: part.count }} />
        ))}
      </div>
      <p class="legend">
        {shown.map((part) => (
          <span key={part.name}>
            <i class={`key-${part.colour}`} /> {part.name} <b>{part.count}</b>
          </span>
        ))}
      </p>
    </div>
  );
}
