// Below the photo, over the stage: what can be done right now. Candidates, brush size, progress, found masks.

import type { ComponentChildren } from "preact";
import { extent } from "../core/bitmap";
import type { Box } from "../core/frames";
import { SHORTCUTS } from "../core/shortcuts";
import { colourOf, newColour, shownIndex } from "../core/work";
import type { Annotator } from "../state/annotator";
import type { Picture } from "../state/photos";
import { brushRadius, tool } from "../state/preferences";
import { Button, KeyCap } from "./Button";
import { setRadius } from "./commands";
import { Thumb } from "./Thumb";

interface Props {
  readonly annotator: Annotator;
  readonly picture: Picture;
  readonly beside?: ComponentChildren;
}

export function Dock(props: Props) {
  const { annotator } = props;
  const { draft, found } = annotator.work.value;
  const isBrush = tool.value === "brush" || tool.value === "erase";
  return (
    <div class="dock" aria-label="What can be done now" role="group">
      {annotator.sweep.value ? (
        <Sweep annotator={annotator} />
      ) : found ? (
        <Found annotator={annotator} count={found.length} />
      ) : draft ? (
        <>
          {props.beside}
          <Making {...props} />
        </>
      ) : (
        isBrush || <Hint annotator={annotator} />
      )}
    </div>
  );
}

function Hint({ annotator }: { annotator: Annotator }) {
  if (annotator.work.value.document.annotations.length > 0 || tool.value !== "segment") return null;
  return (
    <div class="dock-card dock-hint">
      {annotator.isPreparing.value ? (
        <>
          <span class="spinner" /> Looking at the photo…
        </>
      ) : (
        <>
          <b>Click</b> on something, or <b>drag</b> a box around it.{" "}
          <span class="dim">Right-click marks background.</span>
        </>
      )}
    </div>
  );
}

/** Over the stage's upper edge, while a brush is in the hand. */
export function BrushSize() {
  if (tool.value !== "brush" && tool.value !== "erase") return null;
  const label = tool.value === "erase" ? "Eraser size" : "Brush size";
  return (
    <div class="dock-card dock-brush">
      <label>
        <span>{label}</span>
        <input
          type="range"
          min={2}
          max={120}
          value={brushRadius.value}
          onInput={(event) => setRadius(Number(event.currentTarget.value))}
          data-testid="brush-size"
        />
      </label>
      <output>{brushRadius.value * 2} px</output>
      <span class="keys">
        <KeyCap>[</KeyCap>
        <KeyCap>]</KeyCap>
      </span>
    </div>
  );
}

function Sweep({ annotator }: { annotator: Annotator }) {
  const { done, total } = annotator.sweep.value!;
  return (
    <div class="dock-card dock-sweep">
      <span>Looking for everything…</span>
      <progress
        value={done}
        max={Math.max(total, 1)}
        aria-label="Finding everything"
        data-testid="progress"
      />
      <output>{Math.round((done / Math.max(total, 1)) * 100)} %</output>
      <Button label="Stop" kind="quiet" onClick={() => annotator.cancelEverything()}>
        Stop
      </Button>
    </div>
  );
}

function Found({ annotator, count }: { annotator: Annotator; count: number }) {
  return (
    <div class="dock-card" data-testid="found">
      <span>
        <b>{count}</b> {count === 1 ? "mask" : "masks"} found.{" "}
        <span class="dim">Click on those to keep, right-click on those to drop.</span>
      </span>
      <Button
        label="Keep all"
        kind="primary"
        command="accept"
        tip="above"
        onClick={() => annotator.pickAll()}
        testId="keep-all"
      >
        Keep all
      </Button>
      <Button
        label="Done"
        kind="quiet"
        command="cancel"
        tip="above"
        onClick={() => annotator.dropFound(null)}
        testId="found-done"
      >
        Done
      </Button>
    </div>
  );
}

function Making({ annotator, picture }: Props) {
  const draft = annotator.draft.value!;
  const answer = annotator.answer.value;
  const shown = shownIndex(draft);
  const colour = draft.base ? colourOf(draft.base) : newColour(annotator.work.value.document);
  const around = answer ? widest(answer.masks.map(extent), annotator.photo) : null;
  const quality = answer?.predictedIou[shown];
  return (
    <div class="dock-card dock-making" data-testid="making" data-asking={annotator.isAsking.value}>
      {answer && answer.masks.length > 1 ? (
        <div class="candidates" role="radiogroup" aria-label="Candidates">
          {answer.masks.map((mask, i) => (
            <button
              key={i}
              type="button"
              role="radio"
              aria-checked={i === shown}
              aria-label={`Candidate ${i + 1}, predicted quality ${percent(answer.predictedIou[i]!)}${i === answer.best ? ", best" : ""}`}
              class="candidate"
              onClick={() => annotator.choose(i)}
              data-tip={`${SHORTCUTS[`candidate${(i + 1) as 1 | 2 | 3}`].label}\u2002${i + 1}`}
              data-tip-side="above"
              data-testid={`candidate-${i + 1}`}
            >
              <Thumb picture={picture} mask={mask} colour={colour} width={104} height={72} around={around} />
              <span class="candidate-line">
                <KeyCap>{i + 1}</KeyCap>
                <span class="candidate-quality">{percent(answer.predictedIou[i]!)}</span>
                {i === answer.best && <span class="badge">best</span>}
              </span>
            </button>
          ))}
        </div>
      ) : (
        <span class="making-text">
          {annotator.isAsking.value && !answer ? (
            <>
              <span class="spinner" /> Thinking…
            </>
          ) : quality !== undefined ? (
            <>
              Predicted quality <b>{percent(quality)}</b>
            </>
          ) : draft.base ? (
            <>
              Working on <b>{draft.base.label ?? `Mask ${draft.base.id}`}</b> again
            </>
          ) : (
            "Painted by hand"
          )}
        </span>
      )}
      <div class="making-actions">
        <Button
          icon="check"
          label={draft.base ? "Save the mask" : "Accept the mask"}
          command="accept"
          tip="above"
          kind="primary"
          isDisabled={!annotator.canAccept.value}
          onClick={() => void annotator.accept()}
          testId="accept"
        >
          {draft.base ? "Save" : "Accept"}
        </Button>
        <Button
          label="Discard"
          command="cancel"
          tip="above"
          kind="quiet"
          onClick={() => annotator.discard()}
          testId="discard"
        >
          Discard
        </Button>
      </div>
    </div>
  );
}

/** What all candidates need to be seen: the largest that is not the whole photo, so that they compare. */
function widest(boxes: readonly (Box | null)[], photo: { width: number; height: number }): Box | null {
  let around: Box | null = null;
  for (const box of boxes) {
    if (box === null) continue;
    around = around
      ? [
          Math.min(around[0], box[0]),
          Math.min(around[1], box[1]),
          Math.max(around[2], box[2]),
          Math.max(around[3], box[3]),
        ]
      : box;
  }
  return around ?? [0, 0, photo.width, photo.height];
}

export function percent(value: number): string {
  return `${Math.round(Math.min(Math.max(value, 0), 1) * 100)} %`;
}
