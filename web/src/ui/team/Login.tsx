// Before anything else: who is there.

import { useState } from "preact/hooks";
import type { Crew } from "../../state/team/crew";
import { Icon } from "../icons";

export function Login({ crew }: { crew: Crew }) {
  const [problem, setProblem] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    setBusy(true);
    setProblem(null);
    try {
      await crew.login(String(form.get("name")).trim(), String(form.get("password")));
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
      setBusy(false);
    }
  };
  return (
    <main class="login" data-ready="login">
      <form class="login-card" onSubmit={submit} aria-label="Log in">
        <span class="brand">
          <Icon name="logo" size={26} />
          segany
        </span>
        <h1>Log in</h1>
        <label>
          Name
          <input name="name" autocomplete="username" required autofocus maxLength={200} />
        </label>
        <label>
          Password
          <input name="password" type="password" autocomplete="current-password" required maxLength={1000} />
        </label>
        {problem && (
          <p class="form-problem" role="alert">
            {problem}
          </p>
        )}
        <button type="submit" class="button button-primary" disabled={isBusy} data-testid="login">
          {isBusy ? <span class="spinner" /> : "Log in"}
        </button>
        <p class="dim">An admin of the project gives you a name and a password.</p>
      </form>
    </main>
  );
}
