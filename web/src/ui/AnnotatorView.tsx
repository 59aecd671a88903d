// One photo with its tools, stage, dock and list; the same on every screen that annotates.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { Annotator } from "../state/annotator";
import type { Picture } from "../state/photos";
import type { StageState } from "../state/stage";
import type { Target } from "./commands";
import { BrushSize, Dock } from "./Dock";
import { MaskList, PanelHandle } from "./MaskList";
import { Stage } from "./stage/Stage";
import { ToolRail } from "./ToolRail";

interface Props {
  readonly annotator: Annotator;
  readonly picture: Picture;
  readonly stage: StageState;
  readonly target: Target;
  /** Over the stage's upper edge. */
  readonly notice?: ComponentChildren;
  /** Above the list of masks. */
  readonly above?: ComponentChildren;
  /** Below the photo, beside what can be done there. */
  readonly beside?: ComponentChildren;
}

export function AnnotatorView({ annotator, picture, stage, target, notice, above, beside }: Props) {
  const [isDrawerOpen, setDrawerOpen] = useState(false);
  return (
    <div class={`annotator${isDrawerOpen ? " drawer-open" : ""}`}>
      <ToolRail annotator={annotator} target={target} />
      <main class="middle">
        <Stage annotator={annotator} picture={picture} stage={stage} />
        {annotator.work.value.found === null && <BrushSize />}
        {notice && <div class="notice-holder">{notice}</div>}
        <Dock annotator={annotator} picture={picture} beside={beside} />
        {annotator.isPreparing.value && (
          <div class="preparing" role="progressbar" aria-label="Looking at the photo" />
        )}
        <PanelHandle
          count={annotator.work.value.document.annotations.length}
          onClick={() => setDrawerOpen(!isDrawerOpen)}
        />
      </main>
      <MaskList annotator={annotator} above={above} />
    </div>
  );
}
