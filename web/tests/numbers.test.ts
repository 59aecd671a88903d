// The dashboard's numbers as plots show them: true time axes, whole ticks, nothing invented.

import { expect, it } from "vitest";
import { niceLimit } from "../src/ui/team/charts";
import { daysOf, partsOf, roundSeries, STATES } from "../src/ui/team/numbers";

it("keeps days without work on the axis, and leaves out what never happened", () => {
  const { labels, series } = daysOf({ "2026-01-30": { submit: 2 }, "2026-02-01": { submit: 1, reject: 1 } });
  expect(labels).toEqual(["01/30", "01/31", "02/01"]);
  expect(series.map((one) => [one.name, one.values])).toEqual([
    ["handed in", [2, 0, 1]],
    ["sent back", [0, 0, 1]],
  ]);
  expect(daysOf({})).toEqual({ labels: [], series: [] });
  expect(daysOf({ "2026-01-30": { publish: 1 } })).toEqual({ labels: [], series: [] });
});

it("counts every state that a task can have", () => {
  const states = { queued: 1, leased: 2, submitted: 3, in_review: 4, accepted: 5, rejected: 6, skipped: 7 };
  const parts = partsOf(STATES, states);
  expect(parts.reduce((sum, part) => sum + part.count, 0)).toBe(28);
});

it("plots a measure only for the rounds that have it", () => {
  const round = (number: number, metrics: Record<string, unknown>) => ({ number, metrics }) as never;
  const plots = roundSeries([
    round(1, { one_click_miou: 0.5 }),
    round(2, { note: "failed" }),
    round(3, { one_click_miou: 0.6, clicks_per_mask: 2 }),
  ]);
  expect(plots.map(({ labels, values }) => [labels, values])).toEqual([
    [
      ["round 1", "round 3"],
      [0.5, 0.6],
    ],
    [["round 3"], [2]],
  ]);
});

it("ends axes on round numbers whose half is one too", () => {
  expect([0, 1, 3, 5, 9, 17, 230].map(niceLimit)).toEqual([1, 1, 4, 6, 10, 20, 400]);
});
