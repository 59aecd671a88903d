// Every key of the page in one table: the key handler, the tooltips and the help sheet read it.

export type CommandName =
  | "open"
  | "export"
  | "undo"
  | "redo"
  | "help"
  | "theme"
  | "toolSegment"
  | "toolSelect"
  | "toolBrush"
  | "toolErase"
  | "toolPan"
  | "smaller"
  | "larger"
  | "everything"
  | "preview"
  | "accept"
  | "cancel"
  | "nextCandidate"
  | "previousCandidate"
  | "candidate1"
  | "candidate2"
  | "candidate3"
  | "nextMask"
  | "previousMask"
  | "editMask"
  | "rename"
  | "recolour"
  | "hide"
  | "hideAll"
  | "remove"
  | "zoomIn"
  | "zoomOut"
  | "zoomFit"
  | "zoomActual"
  | "nextPhoto"
  | "previousPhoto"
  | "cursorUp"
  | "cursorDown"
  | "cursorLeft"
  | "cursorRight"
  | "cursorForeground"
  | "cursorBackground"
  | "cursorBox"
  | "submit"
  | "skip"
  | "guideline"
  | "approve"
  | "sendBack"
  | "withhold";

export interface Shortcut {
  /** As in `KeyboardEvent.key`, lower case for letters; with "mod+" for Control or Command and "shift+". */
  readonly keys: readonly string[];
  readonly label: string;
  readonly group: "Point" | "Choose" | "Tools" | "Masks" | "View" | "Page" | "Project";
}

export const SHORTCUTS: Readonly<Record<CommandName, Shortcut>> = {
  cursorUp: {
    keys: ["arrowup", "shift+arrowup"],
    label: "Move the crosshair (Shift: one pixel)",
    group: "Point",
  },
  cursorDown: { keys: ["arrowdown", "shift+arrowdown"], label: "Move the crosshair down", group: "Point" },
  cursorLeft: { keys: ["arrowleft", "shift+arrowleft"], label: "Move the crosshair left", group: "Point" },
  cursorRight: {
    keys: ["arrowright", "shift+arrowright"],
    label: "Move the crosshair right",
    group: "Point",
  },
  cursorForeground: { keys: ["f"], label: "Foreground click at the crosshair", group: "Point" },
  cursorBackground: { keys: ["d"], label: "Background click at the crosshair", group: "Point" },
  cursorBox: { keys: ["x"], label: "Set one corner of a box, then the other", group: "Point" },
  preview: { keys: ["p"], label: "Preview under the pointer, on or off", group: "Point" },
  nextCandidate: { keys: ["c"], label: "Next candidate", group: "Choose" },
  previousCandidate: { keys: ["shift+c"], label: "Previous candidate", group: "Choose" },
  candidate1: { keys: ["1"], label: "First candidate", group: "Choose" },
  candidate2: { keys: ["2"], label: "Second candidate", group: "Choose" },
  candidate3: { keys: ["3"], label: "Third candidate", group: "Choose" },
  accept: { keys: ["enter"], label: "Accept the mask", group: "Choose" },
  cancel: { keys: ["escape"], label: "Discard the mask, or leave what is open", group: "Choose" },
  toolSegment: { keys: ["s"], label: "Segment: click and drag", group: "Tools" },
  toolBrush: { keys: ["b"], label: "Brush", group: "Tools" },
  toolErase: { keys: ["e"], label: "Eraser", group: "Tools" },
  toolSelect: { keys: ["v"], label: "Select a mask", group: "Tools" },
  toolPan: { keys: ["h"], label: "Hand (or hold Space)", group: "Tools" },
  smaller: { keys: ["["], label: "Smaller brush", group: "Tools" },
  larger: { keys: ["]"], label: "Larger brush", group: "Tools" },
  everything: { keys: ["a"], label: "Find everything", group: "Tools" },
  nextMask: { keys: ["j"], label: "Next mask", group: "Masks" },
  previousMask: { keys: ["k"], label: "Previous mask", group: "Masks" },
  editMask: { keys: ["m"], label: "Work on the mask again", group: "Masks" },
  rename: { keys: ["n", "f2"], label: "Name the mask", group: "Masks" },
  recolour: { keys: ["l"], label: "Another colour", group: "Masks" },
  hide: { keys: ["o"], label: "Hide or show the mask", group: "Masks" },
  hideAll: { keys: ["shift+o"], label: "Hide or show all masks", group: "Masks" },
  remove: { keys: ["delete", "backspace"], label: "Delete the mask", group: "Masks" },
  zoomIn: { keys: ["+", "="], label: "Zoom in", group: "View" },
  zoomOut: { keys: ["-"], label: "Zoom out", group: "View" },
  zoomFit: { keys: ["0"], label: "Fit the photo", group: "View" },
  zoomActual: { keys: ["z"], label: "Actual pixels", group: "View" },
  theme: { keys: ["t"], label: "Dark or light", group: "View" },
  previousPhoto: { keys: [","], label: "Previous photo", group: "Page" },
  nextPhoto: { keys: ["."], label: "Next photo", group: "Page" },
  undo: { keys: ["mod+z"], label: "Undo", group: "Page" },
  redo: { keys: ["mod+shift+z", "mod+y"], label: "Redo", group: "Page" },
  open: { keys: ["mod+o"], label: "Open photos", group: "Page" },
  export: { keys: ["mod+e"], label: "Export", group: "Page" },
  submit: { keys: ["mod+enter"], label: "Hand in, and take the next image", group: "Project" },
  skip: { keys: ["q"], label: "Skip the image, with a reason", group: "Project" },
  guideline: { keys: ["g"], label: "Guideline, shown or folded", group: "Project" },
  approve: { keys: ["y"], label: "Accept what is reviewed, or clear the photo", group: "Project" },
  sendBack: { keys: ["r"], label: "Send back, with a reason", group: "Project" },
  withhold: { keys: ["w"], label: "Withhold the photo from releases", group: "Project" },
  help: { keys: ["?"], label: "This sheet", group: "Page" },
};

export interface KeyPress {
  readonly key: string;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly shiftKey: boolean;
  readonly altKey: boolean;
}

const BY_KEY = new Map<string, CommandName>(
  (Object.entries(SHORTCUTS) as [CommandName, Shortcut][]).flatMap(([name, { keys }]) =>
    keys.map((key) => [key, name] as const),
  ),
);

/** The command of a key press, if it has one. Shift counts for letters and named keys, not for signs it makes. */
export function commandOf(press: KeyPress): CommandName | null {
  if (press.altKey) return null;
  const key = press.key.toLowerCase();
  const named = key.length > 1 || /^[a-z]$/.test(key);
  const spelled = `${press.ctrlKey || press.metaKey ? "mod+" : ""}${press.shiftKey && named ? "shift+" : ""}${key}`;
  return BY_KEY.get(spelled) ?? null;
}

const SIGNS: Readonly<Record<string, string>> = {
  arrowup: "↑",
  arrowdown: "↓",
  arrowleft: "←",
  arrowright: "→",
  escape: "Esc",
  enter: "Enter",
  delete: "Del",
  backspace: "⌫",
  shift: "Shift",
};

/** A key's parts as people read them: ["Ctrl", "Z"]. */
export function keyCaps(key: string, mac: boolean): string[] {
  if (key === "+") return ["+"];
  return key.split("+").map((part) => {
    if (part === "mod") return mac ? "⌘" : "Ctrl";
    return SIGNS[part] ?? part.toUpperCase();
  });
}

/** The first key of a command as one text: "Ctrl+Z". */
export function keyText(name: CommandName, mac: boolean): string {
  return keyCaps(SHORTCUTS[name].keys[0]!, mac).join("+");
}
