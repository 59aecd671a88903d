// Above the list of masks: the project's guideline, and what is kept of tasks that were lost.

import type { Project } from "../../service/team";
import type { Desk, OpenTask } from "../../state/team/desk";
import { Button } from "../Button";
import { Lost } from "./Lost";

const STAGES = { manual: "From scratch", semi: "Add what is missing", auto: "Found by the model" } as const;

interface Props {
  readonly desk: Desk;
  readonly project: Project;
  readonly task: OpenTask;
}

export function TaskPanel({ desk, project, task }: Props) {
  const isFolded = desk.isGuidelineFolded.value;
  const text = project.guideline || "Mask everything that stands out, the most prominent thing first.";
  return (
    <>
      <section class="guideline" aria-label="Guideline" data-testid="guideline">
        <div class="guideline-head">
          <h2>{STAGES[task.assignment.stage]}</h2>
          <Button
            icon="chevron"
            label={isFolded ? "Show the guideline" : "Fold the guideline"}
            command="guideline"
            tip="left"
            kind="quiet"
            isPressed={isFolded}
            onClick={() => desk.foldGuideline()}
          />
        </div>
        {!isFolded && text.split(/\n+/).map((line) => <p key={line}>{line}</p>)}
      </section>
      <Lost desk={desk} />
    </>
  );
}
