// Accounts: who may do what. For admins.

import { useEffect, useState } from "preact/hooks";
import type { PersonEntry, Project, Role } from "../../service/team";
import { note } from "../../state/messages";
import type { Crew } from "../../state/team/crew";
import { Button } from "../Button";
import { target as keys, nothingOpen } from "./TeamApp";
import { TeamBar } from "./TeamBar";

const ROLES: readonly Role[] = ["annotator", "reviewer", "admin"];

export function PeopleScreen({ crew, project }: { crew: Crew; project: Project }) {
  const [people, setPeople] = useState<readonly PersonEntry[] | null>(null);
  const target = nothingOpen(crew);
  keys.current = target;
  const change = async (what: () => Promise<unknown>, told: string) => {
    try {
      await what();
      if (told !== "") note(told);
    } catch (error) {
      crew.say(error);
    }
    try {
      setPeople(await crew.team.people(project.id));
    } catch (error) {
      crew.say(error);
    }
  };
  useEffect(() => void change(async () => undefined, ""), [project.id]);
  return (
    <div class="app team" data-ready={people ? "ready" : "starting"}>
      <TeamBar crew={crew} screen="people" target={target} />
      <main class="board board-narrow">
        <section class="card">
          <h2>People</h2>
          <table class="table" data-testid="people">
            <thead>
              <tr>
                <th>Name</th>
                <th>Role</th>
                <th>
                  <span class="sr-only">Change</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {people?.map((one) => (
                <Row key={one.id} crew={crew} one={one} change={change} />
              ))}
            </tbody>
          </table>
        </section>
        <NewPerson
          onAdd={(name, password, role) =>
            change(() => crew.team.addPerson(project.id, name, password, role), `${name} may log in now.`)
          }
        />
      </main>
    </div>
  );
}

interface RowProps {
  readonly crew: Crew;
  readonly one: PersonEntry;
  readonly change: (what: () => Promise<unknown>, told: string) => Promise<void>;
}

function Row({ crew, one, change }: RowProps) {
  const isMe = one.id === crew.person.value?.id;
  return (
    <tr class={one.active ? "" : "person-off"}>
      <th scope="row">
        {one.name}
        {one.simulated && <small class="dim"> simulated</small>}
        {isMe && <small class="dim"> you</small>}
      </th>
      <td>
        <select
          aria-label={`Role of ${one.name}`}
          value={one.role}
          disabled={isMe}
          onChange={(event) => {
            const role = event.currentTarget.value as Role;
            void change(() => crew.team.changePerson(one.id, { role }), `${one.name} is ${role} now.`);
          }}
        >
          {ROLES.map((role) => (
            <option key={role} value={role}>
              {role}
            </option>
          ))}
        </select>
      </td>
      <td class="table-end">
        {!isMe && (
          <Button
            label={one.active ? `Lock ${one.name} out` : `Let ${one.name} in`}
            kind="quiet"
            onClick={() =>
              void change(
                () => crew.team.changePerson(one.id, { active: !one.active }),
                one.active ? `${one.name} cannot log in any more.` : `${one.name} may log in again.`,
              )
            }
          >
            {one.active ? "Lock out" : "Let in"}
          </Button>
        )}
      </td>
    </tr>
  );
}

function NewPerson({ onAdd }: { onAdd: (name: string, password: string, role: Role) => Promise<void> }) {
  return (
    <form
      class="card person-form"
      aria-label="New person"
      onSubmit={async (event) => {
        event.preventDefault();
        const element = event.currentTarget;
        const form = new FormData(element);
        await onAdd(String(form.get("name")).trim(), String(form.get("password")), form.get("role") as Role);
        element.reset();
      }}
    >
      <h2>New person</h2>
      <label>
        Name
        <input name="name" required maxLength={200} autocomplete="off" />
      </label>
      <label>
        Password
        <input name="password" type="password" required minLength={8} autocomplete="new-password" />
      </label>
      <label>
        Role
        <select name="role">
          {ROLES.map((role) => (
            <option key={role} value={role}>
              {role}
            </option>
          ))}
        </select>
      </label>
      <button type="submit" class="button button-primary">
        Add
      </button>
    </form>
  );
}
