// Buttons that say what they do and which key does it.

import type { ComponentChildren } from "preact";
import { type CommandName, keyText, SHORTCUTS } from "../core/shortcuts";
import { Icon, type IconName } from "./icons";

export const isMac = /mac|iphone|ipad/i.test(navigator.platform);

interface Props {
  readonly icon?: IconName;
  readonly label: string;
  readonly command?: CommandName;
  readonly onClick: () => void;
  readonly isPressed?: boolean;
  readonly isDisabled?: boolean;
  readonly kind?: "plain" | "primary" | "quiet" | "danger";
  readonly tip?: "below" | "right" | "left" | "above";
  readonly children?: ComponentChildren;
  readonly testId?: string;
}

/** The key as ARIA spells it: "Control+Z". */
function ariaKeys(command: CommandName): string {
  const named: Record<string, string> = { mod: isMac ? "Meta" : "Control", shift: "Shift", "?": "Shift+?" };
  return SHORTCUTS[command].keys[0]!.split(/(?<=.)\+/)
    .map(
      (part) =>
        named[part] ?? (part.length === 1 ? part.toUpperCase() : part[0]!.toUpperCase() + part.slice(1)),
    )
    .join("+");
}

export function Button(props: Props) {
  const {
    icon,
    label,
    command,
    onClick,
    isPressed,
    isDisabled,
    kind = "plain",
    tip = "below",
    children,
  } = props;
  const hasText = children !== undefined;
  return (
    <button
      type="button"
      class={`button button-${kind}${hasText ? "" : " button-icon"}`}
      onClick={onClick}
      disabled={isDisabled ?? false}
      aria-label={label}
      {...(isPressed !== undefined && { "aria-pressed": isPressed })}
      {...(command && { "aria-keyshortcuts": ariaKeys(command) })}
      data-tip={command ? `${label}\u2002${keyText(command, isMac)}` : hasText ? undefined : label}
      data-tip-side={tip}
      data-testid={props.testId}
    >
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

export function KeyCap({ children }: { children: ComponentChildren }) {
  return <kbd class="keycap">{children}</kbd>;
}
