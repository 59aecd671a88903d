// Where images are annotated, and where they are reviewed: the page's own tools around one task after the other.

import { useEffect, useMemo, useState } from "preact/hooks";
import type { Project } from "../../service/team";
import { StageState } from "../../state/stage";
import type { Crew } from "../../state/team/crew";
import { Desk, type Mode, type OpenTask } from "../../state/team/desk";
import { AnnotatorView } from "../AnnotatorView";
import { Button } from "../Button";
import type { Target } from "../commands";
import { MaskTimer } from "./MaskTimer";
import { Nothing } from "./Nothing";
import { Notice } from "./Notice";
import { ReasonSheet } from "./ReasonSheet";
import { TaskPanel } from "./TaskPanel";
import { target as keys, nothingOpen } from "./TeamApp";
import { TeamBar } from "./TeamBar";

interface Props {
  readonly crew: Crew;
  readonly project: Project;
  readonly mode: Mode;
}

/** What is asked before a task is left, and the reasons that are common. */
const QUESTIONS = {
  skip: {
    title: "Skip this image",
    about: "It is left for good, and the next one comes. Why?",
    reasons: [
      "Nothing to annotate in it",
      "Blurred, dark or damaged",
      "Shows people who should not be shown",
      "Too hard to tell things apart",
    ],
    button: "Skip it",
  },
  reject: {
    title: "Send it back",
    about: "Its annotator gets it again, with your reason.",
    reasons: [
      "Something prominent is missing",
      "An edge is not where the thing ends",
      "A mask is of no thing, or of two",
      "The same thing twice",
    ],
    button: "Send back",
  },
} as const;

export function DeskScreen({ crew, project, mode }: Props) {
  const desk = useMemo(() => new Desk(crew, project, mode), [crew, project, mode]);
  useEffect(() => () => desk.close(), [desk]);
  const [asking, setAsking] = useState<"skip" | "reject" | null>(null);
  const open = desk.open.value;
  const stage = useMemo(() => (open ? new StageState(open.annotator.photo) : null), [open]);
  const target: Target = {
    ...nothingOpen(crew),
    annotator: open?.annotator ?? null,
    stage,
    own: open ? commands(desk, mode, setAsking) : {},
  };
  keys.current = target;
  return (
    <div class="app team" data-ready={crew.engine.value ? "ready" : "starting"}>
      <TeamBar crew={crew} screen={mode} target={target} />
      {open && stage ? (
        <AnnotatorView
          key={open.assignment.lease}
          annotator={open.annotator}
          picture={open.picture}
          stage={stage}
          target={target}
          notice={<Notice desk={desk} task={open} />}
          above={<TaskPanel desk={desk} project={project} task={open} />}
          beside={
            mode === "annotate" && (
              <MaskTimer annotator={open.annotator} seconds={project.settings.seconds_per_mask} />
            )
          }
        />
      ) : (
        <Nothing desk={desk} />
      )}
      {open && <Foot desk={desk} task={open} ask={setAsking} />}
      {asking && (
        <ReasonSheet
          {...QUESTIONS[asking]}
          onReason={(reason) => void desk[asking](reason)}
          onClose={() => setAsking(null)}
        />
      )}
    </div>
  );
}

function commands(desk: Desk, mode: Mode, ask: (what: "skip" | "reject") => void): Target["own"] {
  if (mode === "annotate") {
    return {
      submit: () => void desk.submit(),
      skip: () => ask("skip"),
      guideline: () => desk.foldGuideline(),
    };
  }
  return {
    submit: () => void desk.accept(),
    approve: () => void desk.accept(),
    sendBack: () => ask("reject"),
    guideline: () => desk.foldGuideline(),
  };
}

interface FootProps {
  readonly desk: Desk;
  readonly task: OpenTask;
  readonly ask: (what: "skip" | "reject") => void;
}

/** Along the bottom: what becomes of the task. */
function Foot({ desk, task, ask }: FootProps) {
  const isSending = desk.state.value.kind === "sending";
  const masks = task.annotator.work.value.document.annotations.length;
  const isMaking = task.annotator.draft.value !== null;
  const left = desk.remaining.value;
  return (
    <footer class="foot">
      <div class="foot-facts">
        <span>{task.assignment.image.file_name}</span>
        {desk.mode === "review" && task.assignment.annotator && <span>by {task.assignment.annotator}</span>}
        <span class="dim">
          {desk.done.value > 0 && `${desk.done.value} done now`}
          {desk.done.value > 0 && left !== null && " · "}
          {left !== null && `${left} waiting`}
        </span>
        {desk.isOffline.value && <span class="foot-warning">No connection: your work is kept here.</span>}
      </div>
      {isMaking && <span class="dim foot-hint">A mask is still being made: accept it first.</span>}
      {desk.mode === "annotate" ? (
        <>
          <Button
            label="Skip"
            command="skip"
            tip="above"
            kind="quiet"
            onClick={() => ask("skip")}
            testId="skip"
          >
            Skip…
          </Button>
          <Button
            icon="check"
            label="Hand in"
            command="submit"
            tip="above"
            kind="primary"
            isDisabled={isSending || isMaking}
            onClick={() => void desk.submit()}
            testId="submit"
          >
            {isSending ? "Sending…" : `Hand in ${masks} ${masks === 1 ? "mask" : "masks"}`}
          </Button>
        </>
      ) : (
        <>
          <Button
            label="Send back"
            command="sendBack"
            tip="above"
            kind="danger"
            onClick={() => ask("reject")}
            testId="reject"
          >
            Send back…
          </Button>
          <Button
            icon="check"
            label={desk.isChanged.value ? "Accept with my corrections" : "Accept"}
            command="approve"
            tip="above"
            kind="primary"
            isDisabled={isSending || isMaking}
            onClick={() => void desk.accept()}
            testId="approve"
          >
            {isSending ? "Sending…" : desk.isChanged.value ? "Accept with my corrections" : "Accept"}
          </Button>
        </>
      )}
    </footer>
  );
}
