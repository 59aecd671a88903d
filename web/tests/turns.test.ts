// The runtime's turns: one at a time, people before the background, also after failures.

import { expect, it } from "vitest";
import { Turns } from "../src/worker/turns";

it("runs one at a time and lets urgent work pass what waits", async () => {
  const turns = new Turns();
  const order: string[] = [];
  let [running, most] = [0, 0];
  const work = (name: string) => async () => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 1));
    order.push(name);
    running--;
  };
  await Promise.all([
    turns.run(false, work("a")),
    turns.run(false, work("b")),
    turns.run(true, work("urgent 1")),
    turns.run(false, work("c")),
    turns.run(true, work("urgent 2")),
  ]);
  expect(order).toEqual(["a", "urgent 1", "urgent 2", "b", "c"]);
  expect(most).toBe(1);
});

it("goes on after a failure", async () => {
  const turns = new Turns();
  const failed = turns.run(true, async () => {
    throw new Error("no");
  });
  const next = turns.run(true, async () => "yes");
  await expect(failed).rejects.toThrow("no");
  expect(await next).toBe("yes");
});
