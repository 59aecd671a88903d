// The 30-second rule, gently: a ring that fills while a mask is being made, and a word when it is full.

import { useEffect, useState } from "preact/hooks";
import type { Annotator } from "../../state/annotator";

const RADIUS = 9;
const ROUND = 2 * Math.PI * RADIUS;

/** Seconds that the page was looked at since `what` changed. */
function useSeconds(what: string | null): number {
  const [seconds, setSeconds] = useState(0);
  useEffect(() => {
    setSeconds(0);
    if (what === null) return;
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") setSeconds((before) => before + 1);
    }, 1000);
    return () => clearInterval(timer);
  }, [what]);
  return seconds;
}

export function MaskTimer({ annotator, seconds: limit }: { annotator: Annotator; seconds: number }) {
  const seconds = useSeconds(annotator.draft.value?.created ?? null);
  const isOver = seconds >= limit;
  const share = Math.min(1, seconds / limit);
  return (
    <div
      class={`dock-card timer${isOver ? " timer-over" : ""}`}
      role="timer"
      aria-label={`${seconds} of about ${Math.round(limit)} seconds on this mask`}
      data-testid="timer"
    >
      <svg width="24" height="24" viewBox="0 0 24 24" aria-hidden="true">
        <circle class="timer-track" cx="12" cy="12" r={RADIUS} />
        <circle
          class="timer-done"
          cx="12"
          cy="12"
          r={RADIUS}
          stroke-dasharray={`${share * ROUND} ${ROUND}`}
          transform="rotate(-90 12 12)"
        />
      </svg>
      <span>{isOver ? "Good enough? Accept it, or go on to something else." : `${seconds} s`}</span>
    </div>
  );
}
