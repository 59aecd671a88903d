// The page of a project: a login, then the screens that somebody's role allows.

import { useEffect } from "preact/hooks";
import type { Role } from "../../service/team";
import type { Crew } from "../../state/team/crew";
import { dialog, listenToKeys, type Target } from "../commands";
import { Help, Notes } from "../Dialogs";
import type { IconName } from "../icons";
import { route } from "../router";
import { ClearingScreen } from "./Clearing";
import { DashboardScreen } from "./Dashboard";
import { DeskScreen } from "./DeskScreen";
import { Login } from "./Login";
import { PeopleScreen } from "./People";

export interface ScreenEntry {
  readonly screen: string;
  readonly name: string;
  readonly icon: IconName;
  readonly role: Role;
}

export const SCREENS: readonly ScreenEntry[] = [
  { screen: "annotate", name: "Annotate", icon: "segment", role: "annotator" },
  { screen: "review", name: "Review", icon: "check", role: "reviewer" },
  { screen: "clear", name: "Clear", icon: "lock", role: "reviewer" },
  { screen: "dashboard", name: "Dashboard", icon: "chart", role: "reviewer" },
  { screen: "people", name: "People", icon: "people", role: "admin" },
];

/** Keys mean the screen that is shown. */
export const target: { current: Target | null } = { current: null };

export function nothingOpen(crew: Crew): Target {
  return { engine: crew.engine, annotator: null, stage: null, own: {} };
}

export function TeamApp({ crew }: { crew: Crew }) {
  useEffect(() => listenToKeys(() => target.current ?? nothingOpen(crew)), [crew]);
  const { presence } = crew;
  if (presence.value !== "here") target.current = null;
  document.title = crew.project.value ? `${crew.project.value.name} · segany` : "segany";
  return (
    <>
      {presence.value === "here" ? <Screen crew={crew} /> : <Login crew={crew} />}
      {dialog.value === "help" && <Help isTeam />}
      <Notes />
    </>
  );
}

function Screen({ crew }: { crew: Crew }) {
  const project = crew.project.value;
  const allowed = SCREENS.filter((entry) => crew.may(entry.role));
  const home = crew.person.value?.role === "admin" ? "dashboard" : "annotate";
  const entry = allowed.find((one) => one.screen === route.value.screen);
  const screen = entry?.screen ?? home;
  if (project === null)
    return <p class="team-alone">There is no project yet. Make one with segany engine init.</p>;
  const key = `${screen}/${project.id}`;
  if (screen === "annotate" || screen === "review")
    return <DeskScreen key={key} crew={crew} project={project} mode={screen} />;
  if (screen === "clear") return <ClearingScreen key={key} crew={crew} project={project} />;
  if (screen === "people") return <PeopleScreen key={key} crew={crew} project={project} />;
  return <DashboardScreen key={key} crew={crew} project={project} />;
}
