// Clearing: faces, plates and whatever else must not be seen is blurred, by detectors and by hand, then a person decides.

import { useMemo, useState } from "preact/hooks";
import type { Project, Region, RegionKind } from "../../service/team";
import { brushRadius } from "../../state/preferences";
import { StageState } from "../../state/stage";
import { Clearing } from "../../state/team/clearing";
import type { Crew } from "../../state/team/crew";
import { Button, KeyCap } from "../Button";
import { setRadius, type Target } from "../commands";
import { Icon } from "../icons";
import { BlurStage } from "./BlurStage";
import { ReasonSheet } from "./ReasonSheet";
import { target as keys, nothingOpen } from "./TeamApp";
import { TeamBar } from "./TeamBar";

const KINDS: readonly { kind: RegionKind; name: string }[] = [
  { kind: "face", name: "Face" },
  { kind: "plate", name: "Plate" },
  { kind: "other", name: "Other" },
];

const WITHHOLD_REASONS = [
  "Children who can be recognised",
  "Somebody did not agree to be shown",
  "Too much would have to be blurred",
] as const;

export function ClearingScreen({ crew, project }: { crew: Crew; project: Project }) {
  const work = useMemo(() => new Clearing(crew, project), [crew, project]);
  const [isAsking, setAsking] = useState(false);
  const item = work.current.value;
  const stage = useMemo(() => (item ? new StageState(item.image) : null), [item?.image.id]);
  const target: Target = { ...nothingOpen(crew), stage, own: commands(work, stage, () => setAsking(true)) };
  keys.current = target;
  return (
    <div class="app team" data-ready={work.state.value === "fetching" ? "starting" : "ready"}>
      <TeamBar crew={crew} screen="clear" target={target} />
      {item && stage ? (
        <div class="clearing">
          <main class="middle">
            <BlurStage
              key={item.image.id}
              work={work}
              item={item}
              stage={stage}
              photo={crew.team.photoUrl(item.image.id)}
            />
            <div class="dock-card dock-brush">
              <label>
                <span>Blur brush</span>
                <input
                  type="range"
                  min={2}
                  max={120}
                  value={brushRadius.value}
                  onInput={(event) => setRadius(Number(event.currentTarget.value))}
                />
              </label>
              <output>{brushRadius.value * 2} px</output>
              <span class="keys">
                <KeyCap>[</KeyCap>
                <KeyCap>]</KeyCap>
              </span>
            </div>
          </main>
          <RegionPanel work={work} regions={item.regions} />
        </div>
      ) : (
        <main class="nothing" data-testid="nothing" data-state={work.state.value}>
          {work.state.value === "empty" ? (
            <>
              <span class="welcome-icon">
                <Icon name="lock" size={34} />
              </span>
              <h1>Nothing to clear</h1>
              <p class="dim">
                Photos come here once detectors have looked at them: segany engine release does that.
              </p>
              <Button label="Look again" kind="quiet" onClick={() => void work.next()}>
                Look again
              </Button>
            </>
          ) : (
            <p class="dim">
              <span class="spinner" /> Fetching photos…
            </p>
          )}
        </main>
      )}
      {item && (
        <footer class="foot">
          <div class="foot-facts">
            <span>{item.image.file_name}</span>
            <span class="dim">{work.remaining.value} waiting</span>
          </div>
          <Button
            label="Withhold"
            command="withhold"
            tip="above"
            kind="danger"
            onClick={() => setAsking(true)}
            testId="withhold"
          >
            Withhold…
          </Button>
          <Button
            icon="check"
            label="Clear for release"
            command="approve"
            tip="above"
            kind="primary"
            isDisabled={work.state.value !== "working"}
            onClick={() => void work.decide("cleared")}
            testId="clear"
          >
            Clear
          </Button>
        </footer>
      )}
      {isAsking && (
        <ReasonSheet
          title="Withhold this photo"
          about="It stays out of every release. Why?"
          reasons={WITHHOLD_REASONS}
          button="Withhold it"
          onReason={(reason) => void work.decide("withheld", reason)}
          onClose={() => setAsking(false)}
        />
      )}
    </div>
  );
}

function commands(work: Clearing, stage: StageState | null, ask: () => void): Target["own"] {
  return {
    approve: () => void work.decide("cleared"),
    submit: () => void work.decide("cleared"),
    withhold: ask,
    nextMask: () => work.step(1),
    previousMask: () => work.step(-1),
    remove: () => {
      if (work.chosen.value !== null) void work.takeBack(work.chosen.value);
    },
    smaller: () => setRadius(brushRadius.value / 1.2 - 1),
    larger: () => setRadius(brushRadius.value * 1.2 + 1),
    candidate1: () => work.mark("face"),
    candidate2: () => work.mark("plate"),
    candidate3: () => work.mark("other"),
    zoomIn: () => stage?.zoom(1.25),
    zoomOut: () => stage?.zoom(0.8),
    zoomFit: () => stage?.fit(),
    zoomActual: () => stage?.actual(),
  };
}

function RegionPanel({ work, regions }: { work: Clearing; regions: readonly Region[] }) {
  return (
    <aside class="panel" aria-label="Blurred regions">
      <section class="guideline">
        <h2>What must not be seen</h2>
        <p>Paint over faces, number plates and other marks of people. Take back what is none.</p>
        <fieldset class="segmented">
          <legend class="sr-only">What the brush marks</legend>
          {KINDS.map(({ kind, name }, i) => (
            <label key={kind} data-tip={`${name}\u2002${i + 1}`} data-tip-side="below">
              <input
                type="radio"
                name="kind"
                checked={work.kind.value === kind}
                onChange={() => work.mark(kind)}
              />
              <span>{name}</span>
            </label>
          ))}
        </fieldset>
      </section>
      <div class="panel-head">
        <h2>
          Blurred <span class="count">{regions.length}</span>
        </h2>
      </div>
      <ul class="mask-list" data-testid="regions">
        {regions.map((one, i) => (
          <li key={one.id} class={`region${work.chosen.value === one.id ? " mask-selected" : ""}`}>
            <button
              type="button"
              class="mask-name"
              aria-pressed={work.chosen.value === one.id}
              onClick={() => {
                work.chosen.value = one.id;
              }}
            >
              <span class="mask-title">
                {KINDS.find((other) => other.kind === one.kind)?.name ?? one.kind} {i + 1}
              </span>
              <span class="mask-facts">
                {one.by === "person" ? "by hand" : `found by ${one.by}`}
                {one.score !== null && ` · ${one.score.toFixed(2)}`}
              </span>
            </button>
            <Button
              icon="undo"
              label={`Take ${one.kind} ${i + 1} back`}
              tip="left"
              kind="quiet"
              onClick={() => void work.takeBack(one.id)}
            />
          </li>
        ))}
      </ul>
    </aside>
  );
}
