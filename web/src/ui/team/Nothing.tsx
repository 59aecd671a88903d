// Between tasks: one is being fetched, there is none, or something failed.

import { useEffect } from "preact/hooks";
import type { Desk } from "../../state/team/desk";
import { Button } from "../Button";
import { Icon } from "../icons";
import { Lost } from "./Lost";

/** An empty queue is looked at again by itself. */
const AGAIN_MS = 20_000;

export function Nothing({ desk }: { desk: Desk }) {
  const state = desk.state.value;
  useEffect(() => {
    if (state.kind !== "empty") return;
    const timer = setInterval(() => void desk.next(), AGAIN_MS);
    return () => clearInterval(timer);
  }, [state.kind]);
  return (
    <main class="nothing" data-testid="nothing" data-state={state.kind}>
      {state.kind === "failed" ? (
        <>
          <h1>That did not work</h1>
          <p>{state.message}</p>
          <p class="dim">Whatever you made is kept in this browser.</p>
          <Button label="Try again" kind="primary" onClick={() => void desk.next()}>
            Try again
          </Button>
        </>
      ) : state.kind === "empty" ? (
        <>
          <span class="welcome-icon">
            <Icon name="check" size={34} />
          </span>
          <h1>{desk.mode === "review" ? "Nothing to review" : "Nothing to annotate"}</h1>
          <p class="dim">New work appears here by itself.</p>
          <Button label="Look again" kind="quiet" onClick={() => void desk.next()}>
            Look again
          </Button>
        </>
      ) : (
        <p class="dim">
          <span class="spinner" /> Fetching the next image…
        </p>
      )}
      <Lost desk={desk} />
    </main>
  );
}
