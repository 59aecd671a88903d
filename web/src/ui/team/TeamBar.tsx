// Above every screen of a project: where one is, what can be undone, who one is.

import { useState } from "preact/hooks";
import type { Crew } from "../../state/team/crew";
import { Button } from "../Button";
import type { Target } from "../commands";
import { Icon } from "../icons";
import { Steps, ThemeAndHelp } from "../TopBar";
import { SCREENS } from "./TeamApp";

interface Props {
  readonly crew: Crew;
  readonly screen: string;
  readonly target: Target;
}

export function TeamBar({ crew, screen, target }: Props) {
  const projects = crew.projects.value;
  return (
    <header class="topbar team-bar">
      <div class="topbar-group">
        <span class="brand">
          <Icon name="logo" size={20} />
          <span class="brand-name">segany</span>
        </span>
        {projects.length > 1 ? (
          <select
            class="project-choice"
            aria-label="Project"
            value={crew.project.value?.id}
            onChange={(event) => crew.choose(Number(event.currentTarget.value))}
          >
            {projects.map((one) => (
              <option key={one.id} value={one.id}>
                {one.name}
              </option>
            ))}
          </select>
        ) : (
          <span class="project-name">{crew.project.value?.name}</span>
        )}
        <nav class="screens" aria-label="Screens">
          {SCREENS.filter((entry) => crew.may(entry.role)).map((entry) => (
            <a
              key={entry.screen}
              href={`#/${entry.screen}`}
              aria-current={entry.screen === screen ? "page" : undefined}
              aria-label={entry.name}
              data-testid={`screen-${entry.screen}`}
            >
              <Icon name={entry.icon} size={16} />
              <span>{entry.name}</span>
            </a>
          ))}
        </nav>
      </div>
      <div class="topbar-group">
        <Steps target={target} />
      </div>
      <div class="topbar-group topbar-end">
        {(target.annotator || crew.engine.value) && <ModelChip crew={crew} />}
        <ThemeAndHelp target={target} />
        <PersonMenu crew={crew} />
      </div>
    </header>
  );
}

/** Which weights help. */
function ModelChip({ crew }: { crew: Crew }) {
  const engine = crew.engine.value;
  const problem = crew.engineProblem.value;
  const kind = engine ? "ready" : problem ? "failed" : "starting";
  return (
    <span class="model-chip model-still" title={problem ?? undefined} data-testid="model" data-status={kind}>
      <span class={`dot dot-${kind}`} />
      {engine?.info.name ?? (problem ? "No model" : "Starting…")}
    </span>
  );
}

function PersonMenu({ crew }: { crew: Crew }) {
  const [isOpen, setOpen] = useState(false);
  const person = crew.person.value;
  if (person === null) return null;
  return (
    <div
      class="menu-holder"
      onFocusOut={(event) => {
        if (!event.currentTarget.contains(event.relatedTarget as Node | null)) setOpen(false);
      }}
      onKeyDown={(event) => {
        if (event.key === "Escape") setOpen(false);
      }}
    >
      <button
        type="button"
        class="person-chip"
        aria-haspopup="dialog"
        aria-expanded={isOpen}
        aria-label={`${person.name}, ${person.role}`}
        onClick={() => setOpen(!isOpen)}
        data-testid="person"
      >
        {person.name.slice(0, 1).toUpperCase()}
      </button>
      {isOpen && (
        <div class="menu person-menu" role="dialog" aria-label="You" tabIndex={-1}>
          <p>
            <b>{person.name}</b>
            <small>{person.role}</small>
          </p>
          <Button label="Log out" kind="quiet" onClick={() => void crew.logout()} testId="logout">
            Log out
          </Button>
        </div>
      )}
    </div>
  );
}
