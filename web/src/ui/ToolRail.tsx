// Tools, down the left side.

import type { CommandName } from "../core/shortcuts";
import type { Annotator } from "../state/annotator";
import { type Tool, tapMeans, tool } from "../state/preferences";
import { Button } from "./Button";
import { run, setTool, type Target } from "./commands";
import type { IconName } from "./icons";

const TOOLS: readonly { tool: Tool; icon: IconName; label: string; command: CommandName }[] = [
  { tool: "segment", icon: "segment", label: "Segment: click or drag a box", command: "toolSegment" },
  { tool: "brush", icon: "brush", label: "Brush", command: "toolBrush" },
  { tool: "erase", icon: "erase", label: "Eraser", command: "toolErase" },
  { tool: "select", icon: "select", label: "Select a mask", command: "toolSelect" },
  { tool: "pan", icon: "pan", label: "Hand", command: "toolPan" },
];

export function ToolRail({ annotator, target }: { annotator: Annotator; target: Target }) {
  const isBackground = tapMeans.value === "background";
  return (
    <nav class="rail" aria-label="Tools">
      {TOOLS.map((entry) => (
        <Button
          key={entry.tool}
          icon={entry.icon}
          label={entry.label}
          command={entry.command}
          tip="right"
          isPressed={tool.value === entry.tool}
          onClick={() => setTool(entry.tool)}
          testId={`tool-${entry.tool}`}
        />
      ))}
      <hr />
      <Button
        icon="everything"
        label="Find everything"
        command="everything"
        tip="right"
        isDisabled={target.engine.value === null || annotator.sweep.value !== null}
        onClick={() => run("everything", target)}
        testId="everything"
      />
      <div class="rail-tap">
        <Button
          icon={isBackground ? "minus" : "plus"}
          label={isBackground ? "Taps mark the background" : "Taps mark the object"}
          tip="right"
          isPressed={isBackground}
          onClick={() => {
            tapMeans.value = isBackground ? "foreground" : "background";
          }}
        />
      </div>
    </nav>
  );
}
