// The whole page: top bar, the open photo or the welcome, film strip, dialogs; and files coming in from anywhere.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ACCEPTED } from "../state/photos";
import { StageState } from "../state/stage";
import type { Workspace } from "../state/workspace";
import { AnnotatorView } from "./AnnotatorView";
import { dialog, listenToKeys, type Target } from "./commands";
import { Dialogs, Notes, TokenSheet } from "./Dialogs";
import { FilmStrip } from "./FilmStrip";
import { TopBar } from "./TopBar";
import { Welcome } from "./Welcome";

/** Drop and paste, anywhere on the page. Returns whether something is being dragged over it. */
function useIncoming(workspace: Workspace): boolean {
  const [isOver, setOver] = useState(false);
  useEffect(() => {
    const end = new AbortController();
    const { signal } = end;
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    addEventListener(
      "dragover",
      (event) => {
        if (!hasFiles(event)) return;
        event.preventDefault();
        setOver(true);
      },
      { signal },
    );
    addEventListener(
      "dragleave",
      (event) => {
        if (event.relatedTarget === null) setOver(false);
      },
      { signal },
    );
    addEventListener(
      "drop",
      (event) => {
        if (!hasFiles(event)) return;
        event.preventDefault();
        setOver(false);
        void workspace.openFiles([...(event.dataTransfer?.files ?? [])]);
      },
      { signal },
    );
    addEventListener(
      "paste",
      (event) => {
        const files = [...(event.clipboardData?.files ?? [])];
        if (files.length > 0) void workspace.openFiles(files);
      },
      { signal },
    );
    return () => end.abort();
  }, [workspace]);
  return isOver;
}

export function App({ workspace }: { workspace: Workspace }) {
  const chooser = useRef<HTMLInputElement>(null);
  const isOver = useIncoming(workspace);
  const open = workspace.open.value;
  const stage = useMemo(() => (open ? new StageState(open.annotator.photo) : null), [open]);
  const chooseFiles = () => chooser.current?.click();
  const target: Target = {
    engine: workspace.engine,
    annotator: open?.annotator ?? null,
    stage,
    own: {
      open: chooseFiles,
      export: () => {
        if (workspace.photos.value.length > 0) dialog.value = "export";
      },
      nextPhoto: () => workspace.step(1),
      previousPhoto: () => workspace.step(-1),
    },
  };
  const latest = useRef(target);
  latest.current = target;
  useEffect(() => listenToKeys(() => latest.current), []);
  return (
    <div class="app" data-ready={workspace.status.value.kind}>
      <TopBar workspace={workspace} target={target} />
      {open && stage ? (
        <AnnotatorView
          key={open.annotator.photo.key}
          annotator={open.annotator}
          picture={open.picture}
          stage={stage}
          target={target}
        />
      ) : (
        workspace.isLoaded.value &&
        workspace.photos.value.length === 0 && <Welcome workspace={workspace} chooseFiles={chooseFiles} />
      )}
      {workspace.photos.value.length > 0 && <FilmStrip workspace={workspace} chooseFiles={chooseFiles} />}
      <input
        ref={chooser}
        type="file"
        class="sr-only"
        accept={ACCEPTED}
        multiple
        tabIndex={-1}
        aria-hidden="true"
        data-testid="files"
        onChange={(event) => {
          const files = [...(event.currentTarget.files ?? [])];
          event.currentTarget.value = "";
          void workspace.openFiles(files);
        }}
      />
      {isOver && <div class="drop-over">Drop to open</div>}
      {dialog.value !== null && <Dialogs key={dialog.value} workspace={workspace} />}
      {workspace.status.value.kind === "token" && <TokenSheet workspace={workspace} />}
      <Notes />
    </div>
  );
}
