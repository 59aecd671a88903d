// How the project is doing: progress, effort, agreement, people, rounds, and which weights are in use.

import { useEffect, useRef, useState } from "preact/hooks";
import type { Project, ProjectModel, Stats } from "../../service/team";
import { note } from "../../state/messages";
import type { Crew } from "../../state/team/crew";
import { Button } from "../Button";
import { Bars, Lines, Shares, short } from "./charts";
import { DAYS, daysOf, PRIVACY, partsOf, roundSeries, STAGE_NAMES, STATES, sum } from "./numbers";
import { PeopleTable } from "./PeopleTable";
import { target as keys, nothingOpen } from "./TeamApp";
import { TeamBar } from "./TeamBar";

const AGAIN_MS = 10_000;

interface Props {
  readonly crew: Crew;
  readonly project: Project;
}

export function DashboardScreen({ crew, project }: Props) {
  const [stats, setStats] = useState<Stats | null>(null);
  const [models, setModels] = useState<readonly ProjectModel[]>([]);
  const target = nothingOpen(crew);
  keys.current = target;
  const load = async () => {
    try {
      setStats(await crew.team.stats(project.id));
      setModels(await crew.team.models(project.id));
    } catch (error) {
      crew.say(error);
    }
  };
  useEffect(() => {
    void load();
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") void load();
    }, AGAIN_MS);
    return () => clearInterval(timer);
  }, [project.id]);
  return (
    <div class="app team" data-ready={stats ? "ready" : "starting"}>
      <TeamBar crew={crew} screen="dashboard" target={target} />
      <main class="board" data-testid="dashboard">
        {stats ? (
          <>
            <Tiles stats={stats} />
            <div class="board-grid">
              <Progress stats={stats} />
              <Throughput stats={stats} />
              <Rounds stats={stats} />
              <Models crew={crew} project={project} models={models} reload={load} />
            </div>
            <section class="card">
              <h2>People</h2>
              <PeopleTable stats={stats} />
            </section>
            {crew.may("admin") && <AddPhotos crew={crew} project={project} reload={load} />}
          </>
        ) : (
          <p class="dim">
            <span class="spinner" /> Counting…
          </p>
        )}
      </main>
    </div>
  );
}

function Tiles({ stats }: { stats: Stats }) {
  const done = stats.stages.map((one) => one.done);
  const masks = sum(done.map((one) => one.masks));
  const made = sum(done.map((one) => one.people_masks));
  const seconds = made > 0 ? sum(done.map((one) => one.active_seconds)) / made : null;
  const clicks = made > 0 ? sum(done.map((one) => one.clicks)) / made : null;
  const gold = stats.people.flatMap((one) => one.gold ?? []);
  const { agreement } = stats;
  const tiles: readonly [string, string, string][] = [
    ["Photos", short(stats.images), `${short(masks)} masks accepted`],
    ["Seconds per mask", seconds === null ? "–" : seconds.toFixed(1), "active, of masks people made"],
    ["Clicks per mask", clicks === null ? "–" : clicks.toFixed(1), "points and boxes"],
    [
      "Agreement",
      agreement.mean_iou === null ? "–" : agreement.mean_iou.toFixed(2),
      agreement.pairs === 0 ? "no image annotated twice yet" : `mean IoU of ${agreement.pairs} pairs`,
    ],
    [
      "Known answers",
      gold.length === 0 ? "–" : (sum(gold) / gold.length).toFixed(2),
      gold.length === 0 ? "none were asked yet" : `mean IoU of ${gold.length} people`,
    ],
  ];
  return (
    <>
      {stats.simulated_documents > 0 && (
        <p class="notice" role="note">
          {stats.simulated_documents} of the documents counted here were made by simulated annotators.
        </p>
      )}
      <dl class="tiles">
        {tiles.map(([name, value, about]) => (
          <div key={name} class="card tile">
            <dt>{name}</dt>
            <dd>{value}</dd>
            <small>{about}</small>
          </div>
        ))}
      </dl>
    </>
  );
}

function Progress({ stats }: { stats: Stats }) {
  return (
    <section class="card" data-testid="progress">
      <h2>Progress</h2>
      {stats.stages
        .filter((one) => one.total > 0)
        .map((one) => (
          <div key={one.stage} class="stage-line" data-testid={`stage-${one.stage}`}>
            <h3>
              {STAGE_NAMES[one.stage]} <b>{Math.round(one.progress * 100)} %</b>
            </h3>
            <Shares label={STAGE_NAMES[one.stage]} parts={partsOf(STATES, one.states)} />
          </div>
        ))}
      <div class="stage-line">
        <h3>Clearing for release</h3>
        <Shares label="Clearing" parts={partsOf(PRIVACY, stats.privacy)} />
      </div>
    </section>
  );
}

function Throughput({ stats }: { stats: Stats }) {
  const { labels, series } = daysOf(stats.days);
  return (
    <section class="card" data-testid="throughput">
      <h2>Work per day</h2>
      {labels.length === 0 ? (
        <p class="dim">Nothing was handed in yet.</p>
      ) : (
        <Bars title="Work per day" labels={labels} series={series} />
      )}
      <p class="dim card-note">
        An image counts once for each thing done with it. {DAYS} days at most, in UTC.
      </p>
    </section>
  );
}

function Rounds({ stats }: { stats: Stats }) {
  const plots = roundSeries(stats.rounds);
  return (
    <section class="card" data-testid="rounds">
      <h2>Rounds</h2>
      {plots.length === 0 && <p class="dim">No round was closed yet: segany engine round makes one.</p>}
      <div class="rounds">
        {plots.map(({ title, labels, values, limit }) => (
          <Lines
            key={title}
            title={title}
            labels={labels}
            series={[{ name: title, colour: "accent", values }]}
            {...(limit !== undefined && { limit })}
          />
        ))}
      </div>
    </section>
  );
}

interface ModelsProps extends Props {
  readonly models: readonly ProjectModel[];
  readonly reload: () => Promise<void>;
}

function Models({ crew, project, models, reload }: ModelsProps) {
  const change = async (what: () => Promise<unknown>, told: string) => {
    try {
      await what();
      note(told);
      await reload();
    } catch (error) {
      crew.say(error);
    }
  };
  const isAdmin = crew.may("admin");
  return (
    <section class="card" data-testid="models">
      <div class="card-head">
        <h2>Model in use</h2>
        {isAdmin && models.length > 1 && (
          <Button
            icon="undo"
            label="Back to the one before"
            kind="quiet"
            onClick={() =>
              void change(() => crew.team.rollback(project.id), "The weights before are in use again.")
            }
          >
            Roll back
          </Button>
        )}
      </div>
      {models.length === 0 && <p class="dim">None was published yet: the service's own model helps.</p>}
      <ul class="models">
        {[...models].reverse().map((one) => (
          <li key={one.id} class={one.current ? "model-current" : ""}>
            <span class={`dot dot-${one.current ? "ready" : "off"}`} />
            <span>
              <b>{one.label || one.name}</b>
              <small>
                {one.created.slice(0, 10)} · {one.fingerprint.slice(0, 10)}
              </small>
            </span>
            {one.current ? (
              <span class="badge">in use</span>
            ) : (
              isAdmin && (
                <Button
                  label={`Publish ${one.label || one.name}`}
                  onClick={() => void change(() => crew.team.publish(project.id, one.id), "Published.")}
                >
                  Publish
                </Button>
              )
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}

function AddPhotos({ crew, project, reload }: Props & { reload: () => Promise<void> }) {
  const chooser = useRef<HTMLInputElement>(null);
  const [left, setLeft] = useState(0);
  const add = async (files: readonly File[]) => {
    let added = 0;
    for (const [i, file] of files.entries()) {
      setLeft(files.length - i);
      try {
        await crew.team.addPhoto(project.id, file);
        added++;
      } catch (error) {
        crew.say(error);
      }
    }
    setLeft(0);
    note(`${added} of ${files.length} photos were added.`);
    await reload();
  };
  return (
    <section class="card card-row">
      <p>
        <b>More photos</b> <span class="dim">join the queue at once.</span>
      </p>
      <Button icon="plus" label="Add photos" onClick={() => chooser.current?.click()} isDisabled={left > 0}>
        {left > 0 ? `${left} left…` : "Add photos"}
      </Button>
      <input
        ref={chooser}
        type="file"
        class="sr-only"
        accept="image/*"
        multiple
        tabIndex={-1}
        aria-hidden="true"
        data-testid="add-photos"
        onChange={(event) => {
          const files = [...(event.currentTarget.files ?? [])];
          event.currentTarget.value = "";
          void add(files);
        }}
      />
    </section>
  );
}
