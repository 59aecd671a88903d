// Asks for a reason: one of the usual ones by its number, or one's own words.

import { useEffect, useRef, useState } from "preact/hooks";
import { KeyCap } from "../Button";
import { Sheet } from "../Dialogs";

interface Props {
  readonly title: string;
  readonly about: string;
  readonly reasons: readonly string[];
  readonly button: string;
  readonly onReason: (reason: string) => void;
  readonly onClose: () => void;
}

export function ReasonSheet({ title, about, reasons, button, onReason, onClose }: Props) {
  const [text, setText] = useState("");
  const field = useRef<HTMLTextAreaElement>(null);
  const first = useRef<HTMLUListElement>(null);
  // The keys of the usual reasons work at once.
  useEffect(() => first.current?.querySelector("button")?.focus(), []);
  const say = () => {
    const reason = text.trim();
    if (reason === "") return;
    onClose();
    onReason(reason);
  };
  return (
    <Sheet title={title} name="reason" onClose={onClose}>
      <form
        class="reason"
        onSubmit={(event) => {
          event.preventDefault();
          say();
        }}
        onKeyDown={(event) => {
          const chosen = reasons[Number(event.key) - 1];
          if (chosen !== undefined && event.target !== field.current) {
            event.preventDefault();
            setText(chosen);
            field.current?.focus();
          }
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) say();
        }}
      >
        <p>{about}</p>
        <ul class="reasons" ref={first}>
          {reasons.map((reason, i) => (
            <li key={reason}>
              <button
                type="button"
                aria-pressed={text === reason}
                onClick={() => {
                  setText(reason);
                  field.current?.focus();
                }}
              >
                <KeyCap>{i + 1}</KeyCap> {reason}
              </button>
            </li>
          ))}
        </ul>
        <textarea
          ref={field}
          aria-label="Reason"
          placeholder="In your own words"
          rows={3}
          maxLength={1000}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && !event.shiftKey) {
              event.preventDefault();
              say();
            }
          }}
          data-testid="reason"
        />
        <button
          type="submit"
          class="button button-primary"
          disabled={text.trim() === ""}
          data-testid="reason-send"
        >
          {button}
        </button>
      </form>
    </Sheet>
  );
}
