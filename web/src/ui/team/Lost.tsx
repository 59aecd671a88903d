// Work on tasks that went to somebody else meanwhile: kept here until it is saved or forgotten.

import { saveFile } from "../../state/exporting";
import type { StoredTask } from "../../state/storage";
import type { Desk } from "../../state/team/desk";
import { Button } from "../Button";

export function Lost({ desk }: { desk: Desk }) {
  const lost = desk.lost.value;
  if (lost.length === 0) return null;
  const save = async (task: StoredTask) => {
    const document = await desk.lostDocument(task);
    if (document === null) return;
    const data = new Blob([JSON.stringify(document)], { type: "application/json" });
    saveFile({ name: `${task.assignment.image.file_name.replace(/\.[^.]*$/, "")}.segany.json`, data });
  };
  const forget = (task: StoredTask) => {
    if (confirm(`Forget your masks of ${task.assignment.image.file_name}?`)) void desk.forget(task);
  };
  return (
    <section class="lost" aria-label="Kept work" data-testid="lost">
      <h2>Kept, not handed in</h2>
      <p class="dim">The time for these ran out and somebody else took them. Your masks are still here.</p>
      <ul>
        {lost.map((task) => (
          <li key={task.key}>
            <span>{task.assignment.image.file_name}</span>
            <Button icon="export" label="Save as a file" onClick={() => void save(task)}>
              Save
            </Button>
            <Button icon="trash" label="Forget" kind="quiet" tip="left" onClick={() => forget(task)} />
          </li>
        ))}
      </ul>
    </section>
  );
}
