// Active seconds: the time a person really worked. Pauses longer than the limit count as the limit.

export interface Activity {
  /** Time of the last sign of work, milliseconds; null before the first. */
  readonly last: number | null;
  readonly seconds: number;
}

export const NO_ACTIVITY: Activity = { last: null, seconds: 0 };
const LONGEST_PAUSE_MS = 15_000;

export function worked(activity: Activity, now: number): Activity {
  if (activity.last === null) return { last: now, seconds: activity.seconds };
  const pause = Math.min(Math.max(now - activity.last, 0), LONGEST_PAUSE_MS);
  return { last: now, seconds: activity.seconds + pause / 1000 };
}
