// The page's beginning: its screens, and what they work on.

import "./ui/styles/tokens.css";
import "./ui/styles/layout.css";
import "./ui/styles/parts.css";
import "./ui/styles/team.css";
import { type ComponentChild, render } from "preact";
import { Service } from "./service/service";
import { Crew } from "./state/team/crew";
import { Workspace } from "./state/workspace";
import { App } from "./ui/App";
import { Router, type Screens } from "./ui/router";
import { TeamApp } from "./ui/team/TeamApp";

const root = document.getElementById("app");
if (root === null) throw new Error("expected an element #app in the page");

/** A project's page where people log in, the page for one's own photos everywhere else. */
async function start(): Promise<ComponentChild> {
  const service = await Service.find(document.baseURI);
  if (service?.hasProjects) {
    const crew = await Crew.start(service);
    return <TeamApp crew={crew} />;
  }
  const workspace = await Workspace.start(service);
  const screens: Screens = { "": () => <App workspace={workspace} /> };
  return <Router screens={screens} />;
}

start().then(
  (page) => render(page, root),
  (error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error);
    root.textContent = `The page could not start: ${reason}. Allow this site to store data, then reload.`;
  },
);
