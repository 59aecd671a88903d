// What opens over the page: the sheet of keys, export, the service's token; and short notes in a corner.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { keyCaps, SHORTCUTS, type Shortcut } from "../core/shortcuts";
import { exportFile, FORMATS, type Format, saveFile } from "../state/exporting";
import { announce, dismiss, notes, sayError, spoken } from "../state/messages";
import type { Workspace } from "../state/workspace";
import { Button, isMac, KeyCap } from "./Button";
import { dialog } from "./commands";
import { Icon } from "./icons";

interface SheetProps {
  readonly title: string;
  readonly name: string;
  readonly onClose: () => void;
  readonly children: ComponentChildren;
}

export function Sheet({ title, name, onClose, children }: SheetProps) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    element.current?.showModal();
  }, []);
  return (
    <dialog
      ref={element}
      class={`sheet sheet-${name}`}
      aria-labelledby={`${name}-title`}
      onClose={onClose}
      onClick={(event) => {
        if (event.target === element.current) element.current?.close();
      }}
      onKeyDown={(event) => {
        if (event.key === "?" && name === "help") element.current?.close();
      }}
      data-testid={`dialog-${name}`}
    >
      <div class="sheet-body" tabIndex={-1} autofocus>
        <div class="sheet-head">
          <h2 id={`${name}-title`}>{title}</h2>
          <Button
            icon="close"
            label="Close"
            kind="quiet"
            tip="left"
            onClick={() => element.current?.close()}
          />
        </div>
        {children}
      </div>
    </dialog>
  );
}

const close = () => {
  dialog.value = null;
};

export function Dialogs({ workspace }: { workspace: Workspace }) {
  if (dialog.value === "help") return <Help isTeam={false} />;
  if (dialog.value === "export") return <Export workspace={workspace} />;
  return null;
}

const GROUPS: readonly Shortcut["group"][] = ["Point", "Choose", "Tools", "Masks", "View", "Page"];
/** Keys that only the page's own photos have. */
const ALONE = /^(open|export|nextPhoto|previousPhoto)$/;
const MOUSE: readonly (readonly [string, string])[] = [
  ["Click", "This belongs to the thing"],
  ["Right-click", "This does not (a long press on a touch screen)"],
  ["Drag", "A box around the thing"],
  ["Wheel, pinch", "Zoom"],
  ["Space + drag", "Move the photo (or the middle button)"],
];

export function Help({ isTeam }: { isTeam: boolean }) {
  const entries = Object.entries(SHORTCUTS).filter(
    ([name]) => !/^cursor(Down|Left|Right)$/.test(name) && !(isTeam && ALONE.test(name)),
  );
  const groups = isTeam ? ([...GROUPS, "Project"] as const) : GROUPS;
  return (
    <Sheet title="Keys and pointer" name="help" onClose={close}>
      <div class="help">
        <section>
          <h3>Pointer</h3>
          <dl>
            {MOUSE.map(([what, does]) => (
              <div key={what}>
                <dt>{what}</dt>
                <dd>{does}</dd>
              </div>
            ))}
          </dl>
        </section>
        {groups.map((group) => (
          <section key={group}>
            <h3>{group}</h3>
            <dl>
              {entries
                .filter(([, shortcut]) => shortcut.group === group)
                .map(([name, shortcut]) => (
                  <div key={name}>
                    <dt>{name === "cursorUp" ? <Arrows /> : <Caps text={shortcut.keys[0]!} />}</dt>
                    <dd>{shortcut.label}</dd>
                  </div>
                ))}
            </dl>
          </section>
        ))}
      </div>
    </Sheet>
  );
}

function Caps({ text }: { text: string }) {
  return (
    <>
      {keyCaps(text, isMac).map((cap) => (
        <KeyCap key={cap}>{cap}</KeyCap>
      ))}
    </>
  );
}

function Arrows() {
  return (
    <>
      {["↑", "↓", "←", "→"].map((cap) => (
        <KeyCap key={cap}>{cap}</KeyCap>
      ))}
    </>
  );
}

function Export({ workspace }: { workspace: Workspace }) {
  const count = workspace.photos.value.length;
  const [all, setAll] = useState(false);
  const [busy, setBusy] = useState<Format | null>(null);
  const hasService = workspace.offer.value?.service != null;
  const masks = all
    ? workspace.photos.value.reduce((sum, entry) => sum + entry.masks, 0)
    : (workspace.open.value?.annotator.work.value.document.annotations.length ?? 0);
  const save = async (format: Format) => {
    setBusy(format);
    try {
      const file = await exportFile(workspace, format, all);
      saveFile(file);
      announce(`Saved as ${file.name}.`);
    } catch (error) {
      sayError(error);
    } finally {
      setBusy(null);
    }
  };
  return (
    <Sheet title="Export" name="export" onClose={close}>
      <fieldset class="segmented">
        <legend class="sr-only">Which photos</legend>
        {[false, true].map((value) => (
          <label key={String(value)}>
            <input type="radio" name="scope" checked={all === value} onChange={() => setAll(value)} />
            <span>{value ? `All photos (${count})` : "This photo"}</span>
          </label>
        ))}
      </fieldset>
      <p class="dim">
        {masks} {masks === 1 ? "mask" : "masks"}. What is still being made is not exported: accept it first.
      </p>
      <ul class="formats">
        {FORMATS.filter((entry) => hasService || !entry.needsService).map((entry) => (
          <li key={entry.format}>
            <button
              type="button"
              disabled={busy !== null || (masks === 0 && entry.format !== "annotations")}
              onClick={() => void save(entry.format)}
              data-testid={`export-${entry.format}`}
            >
              <b>{entry.name}</b>
              <span>{entry.about}</span>
              {busy === entry.format ? <span class="spinner" /> : <Icon name="export" size={16} />}
            </button>
          </li>
        ))}
      </ul>
    </Sheet>
  );
}

/** Asked for once, when the service demands its token. */
export function TokenSheet({ workspace }: { workspace: Workspace }) {
  const field = useRef<HTMLInputElement>(null);
  return (
    <Sheet title="This service has a password" name="token" onClose={() => void workspace.startEngine()}>
      <form
        class="token"
        onSubmit={(event) => {
          event.preventDefault();
          void workspace.useToken(field.current?.value.trim() ?? "");
        }}
      >
        <p>It was printed where the service was started. This browser remembers it.</p>
        <input ref={field} type="password" aria-label="Token" autocomplete="current-password" required />
        <button type="submit" class="button button-primary">
          Continue
        </button>
      </form>
    </Sheet>
  );
}

export function Notes() {
  return (
    <>
      <div class="notes">
        {notes.value.map((note) => (
          <div key={note.id} class={`note note-${note.kind}`} role={note.kind === "error" ? "alert" : "note"}>
            <span>{note.text}</span>
            <Button icon="close" label="Dismiss" kind="quiet" tip="left" onClick={() => dismiss(note.id)} />
          </div>
        ))}
      </div>
      <div class="sr-only" role="status" aria-live="polite" data-testid="spoken">
        {spoken.value}
      </div>
    </>
  );
}
