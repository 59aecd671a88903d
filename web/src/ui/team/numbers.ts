// From the service's numbers to what plots show: names, colours, order.

import type { Stage, Stats } from "../../service/team";
import type { Part, Series } from "./charts";

export const STAGE_NAMES: Readonly<Record<Stage, string>> = {
  manual: "1 · From scratch, with the model's help",
  semi: "2 · Completing what the model found",
  auto: "3 · Fully automatic",
};

type Named = Readonly<Record<string, readonly [name: string, colour: string]>>;

/** States of a task, the finished ones first. */
export const STATES: Named = {
  accepted: ["accepted", "done"],
  submitted: ["waiting for review", "waiting"],
  in_review: ["in review", "review"],
  rejected: ["sent back", "back"],
  leased: ["being annotated", "now"],
  skipped: ["skipped", "skipped"],
  queued: ["in the queue", "rest"],
};

export const PRIVACY: Named = {
  cleared: ["cleared", "done"],
  withheld: ["withheld", "back"],
  found: ["to be looked at", "waiting"],
  unchecked: ["not searched yet", "rest"],
};

const EVENTS: Named = {
  submit: ["handed in", "waiting"],
  accept: ["accepted", "done"],
  fix: ["accepted, mended", "review"],
  reject: ["sent back", "back"],
  skip: ["skipped", "skipped"],
};

/** Days that are shown at most. */
export const DAYS = 30;

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

export function partsOf(named: Named, counts: Readonly<Record<string, number>>): Part[] {
  return Object.entries(named).map(([key, [name, colour]]) => ({ name, colour, count: counts[key] ?? 0 }));
}

/** Events of the latest days; a day without any stands empty, so that the time axis is true. */
export function daysOf(days: Stats["days"]): { labels: string[]; series: Series[] } {
  const known = Object.keys(days)
    .filter((day) => Object.keys(EVENTS).some((kind) => (days[day]?.[kind] ?? 0) > 0))
    .sort();
  const [first, last] = [known[0], known.at(-1)];
  if (first === undefined || last === undefined) return { labels: [], series: [] };
  const all: string[] = [];
  for (let day = Date.parse(first); day <= Date.parse(last); day += 86_400_000) {
    all.push(new Date(day).toISOString().slice(0, 10));
  }
  const shown = all.slice(-DAYS);
  const series = Object.entries(EVENTS)
    .map(([key, [name, colour]]) => ({ name, colour, values: shown.map((day) => days[day]?.[key] ?? 0) }))
    .filter((one) => sum(one.values) > 0);
  return { labels: shown.map((day) => day.slice(5).replace("-", "/")), series };
}

interface RoundPlot {
  readonly title: string;
  readonly labels: string[];
  readonly values: number[];
  readonly limit?: number;
}

const METRICS: readonly (readonly [key: string, title: string, limit?: number])[] = [
  ["one_click_miou", "mean IoU of one click, held out", 1],
  ["seconds_per_mask", "seconds per mask"],
  ["clicks_per_mask", "clicks per mask"],
  ["masks_per_image", "masks per image"],
];

/** What closed rounds measured, a plot for each measure. */
export function roundSeries(rounds: Stats["rounds"]): RoundPlot[] {
  return METRICS.flatMap(([key, title, limit]) => {
    const known = rounds.filter((one) => typeof one.metrics[key] === "number");
    if (known.length === 0) return [];
    return [
      {
        title,
        labels: known.map((one) => `round ${one.number}`),
        values: known.map((one) => one.metrics[key] as number),
        ...(limit !== undefined && { limit }),
      },
    ];
  });
}
