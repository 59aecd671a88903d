// What everybody did, a line each.

import type { Stats } from "../../service/team";

const number = (value: number | null, digits = 0) => (value === null ? "–" : value.toFixed(digits));

export function PeopleTable({ stats }: { stats: Stats }) {
  if (stats.people.length === 0) return <p class="dim">Nobody did anything yet.</p>;
  return (
    <div class="table-holder">
      <table class="table" data-testid="people-work">
        <thead>
          <tr>
            <th>Name</th>
            <th>Handed in</th>
            <th>Sent back</th>
            <th>Reviewed</th>
            <th>Skipped</th>
            <th>Masks</th>
            <th>Seconds per mask</th>
            <th>Clicks per mask</th>
            <th>Known answers</th>
          </tr>
        </thead>
        <tbody>
          {stats.people.map(({ user, name, role, simulated, actions, rejected, work, gold }) => (
            <tr key={user}>
              <th scope="row">
                {name} <small class="dim">{simulated ? `${role}, simulated` : role}</small>
              </th>
              <td>{actions.submit ?? 0}</td>
              <td>{rejected}</td>
              <td>{(actions.accept ?? 0) + (actions.fix ?? 0) + (actions.reject ?? 0)}</td>
              <td>{actions.skip ?? 0}</td>
              <td>{work.masks}</td>
              <td>{number(work.seconds_per_mask, 1)}</td>
              <td>{number(work.clicks_per_mask, 1)}</td>
              <td>{number(gold, 2)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
