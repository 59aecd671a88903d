// Above the stage: whose photo, which model, undo, zoom, theme, help, export.

import { isDark, theme } from "../state/preferences";
import type { StageState } from "../state/stage";
import type { Workspace } from "../state/workspace";
import { Button } from "./Button";
import { run, type Target } from "./commands";
import { Icon } from "./icons";
import { ModelMenu } from "./ModelMenu";

export function TopBar({ workspace, target }: { workspace: Workspace; target: Target }) {
  const { annotator } = target;
  return (
    <header class="topbar">
      <div class="topbar-group">
        <span class="brand">
          <Icon name="logo" size={20} />
          segany
        </span>
        {annotator && (
          <span class="file-name" title={annotator.photo.name}>
            {annotator.photo.name}
            <small>
              {annotator.photo.width} × {annotator.photo.height}
            </small>
          </span>
        )}
      </div>
      <Steps target={target} />
      <div class="topbar-group topbar-end">
        <ModelMenu workspace={workspace} />
        <ThemeAndHelp target={target} />
        {annotator && (
          <Button
            icon="export"
            label="Export"
            command="export"
            kind="primary"
            onClick={() => run("export", target)}
          >
            Export
          </Button>
        )}
      </div>
    </header>
  );
}

/** Undo, redo, zoom: the middle of the bar on every screen that annotates. */
export function Steps({ target }: { target: Target }) {
  const { annotator, stage } = target;
  return (
    <div class="topbar-group">
      {annotator && (
        <>
          <Button
            icon="undo"
            label="Undo"
            command="undo"
            onClick={() => annotator.undo()}
            isDisabled={annotator.history.value.past.length === 0}
          />
          <Button
            icon="redo"
            label="Redo"
            command="redo"
            onClick={() => annotator.redo()}
            isDisabled={annotator.history.value.future.length === 0}
          />
        </>
      )}
      {stage && <Zoom stage={stage} target={target} />}
    </div>
  );
}

export function ThemeAndHelp({ target }: { target: Target }) {
  return (
    <>
      <Button
        icon={isDark() ? "sun" : "moon"}
        label={isDark() ? "Light theme" : "Dark theme"}
        command="theme"
        onClick={() => {
          theme.value = isDark() ? "light" : "dark";
        }}
      />
      <Button icon="help" label="Keys and help" command="help" onClick={() => run("help", target)} />
    </>
  );
}

function Zoom({ stage, target }: { stage: StageState; target: Target }) {
  const percent = Math.round(stage.view.value.zoom * devicePixelRatio * 100);
  return (
    <div class="zoom">
      <Button icon="zoomOut" label="Zoom out" command="zoomOut" onClick={() => run("zoomOut", target)} />
      <button
        type="button"
        class="zoom-value"
        onClick={() => run("zoomActual", target)}
        data-tip="Actual pixels&#8194;Z"
        data-tip-side="below"
        aria-label={`Zoom ${percent} percent; press for actual pixels`}
      >
        {percent} %
      </button>
      <Button icon="zoomIn" label="Zoom in" command="zoomIn" onClick={() => run("zoomIn", target)} />
      <Button icon="fit" label="Fit the photo" command="zoomFit" onClick={() => run("zoomFit", target)} />
    </div>
  );
}
