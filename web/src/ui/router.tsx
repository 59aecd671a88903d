// Which screen is shown, from the address behind #: so that the page works from any folder of any file server. Screens
// register under the first part of the address; the page's own photos are the empty one.

import { signal } from "@preact/signals";
import type { ComponentType } from "preact";

export interface Route {
  readonly screen: string;
  readonly rest: readonly string[];
}

export type Screens = Readonly<Record<string, ComponentType<{ route: Route }>>>;

function read(): Route {
  const [screen = "", ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  return { screen, rest: rest.map(decodeURIComponent) };
}

export const route = signal<Route>(read());

addEventListener("hashchange", () => {
  route.value = read();
});

/** The screen of the address; an unknown address shows the page's own photos. */
export function Router({ screens }: { screens: Screens }) {
  const Screen = screens[route.value.screen] ?? screens[""]!;
  return <Screen route={route.value} />;
}
