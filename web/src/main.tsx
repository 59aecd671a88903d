// The page's beginning: its screens, and what they work on.

import "./ui/styles/tokens.css";
import "./ui/styles/layout.css";
import "./ui/styles/parts.css";
import { render } from "preact";
import { Workspace } from "./state/workspace";
import { App } from "./ui/App";
import { Router, type Screens } from "./ui/router";

const root = document.getElementById("app");
if (root === null) throw new Error("expected an element #app in the page");

Workspace.start().then(
  (workspace) => {
    const screens: Screens = { "": () => <App workspace={workspace} /> };
    render(<Router screens={screens} />, root);
  },
  (error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error);
    root.textContent = `The page could not start: ${reason}. Allow this site to store data, then reload.`;
  },
);
