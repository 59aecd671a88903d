// One photo with its tools, stage, dock and list; the same on every screen that annotates.

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
}

export function AnnotatorView({ annotator, picture, stage, target }: Props) {
  const [isDrawerOpen, setDrawerOpen] = useState(false);
  return (
    <div class={`annotator${isDrawerOpen ? " drawer-open" : ""}`}>
      <ToolRail annotator={annotator} target={target} />
      <main class="middle">
        <Stage annotator={annotator} picture={picture} stage={stage} />
        {annotator.work.value.found === null && <BrushSize />}
        <Dock annotator={annotator} picture={picture} />
        {annotator.isPreparing.value && (
          <div class="preparing" role="progressbar" aria-label="Looking at the photo" />
        )}
        <PanelHandle
          count={annotator.work.value.document.annotations.length}
          onClick={() => setDrawerOpen(!isDrawerOpen)}
        />
      </main>
      <MaskList annotator={annotator} />
    </div>
  );
}
