// Line icons, drawn for this page on a grid of 20.

import type { JSX } from "preact";

const DRAWN = {
  logo: (
    <>
      <path d="M4 7.5C4 5 6 3.5 9 4s6.500.5 7 4-.5 7.500-5 8S4 14 4 10.500" />
      <circle cx="10" cy="10" r="2" fill="currentColor" stroke="none" />
    </>
  ),
  segment: <path d="m5 3 4.500 13 2-5.500L17 8.500z" />,
  select: (
    <>
      <path d="M3.500 6.500v-3h3M13.500 3.500h3v3M16.500 13.500v3h-3M6.500 16.500h-3v-3" />
      <rect x="7" y="7" width="6" height="6" rx="1" />
    </>
  ),
  brush: (
    <>
      <path d="M16.500 3.500c-3 1-6.500 4-8 7l1 1c3-1.500 6-5 7-8z" />
      <path d="M8 11.500c-2 0-2.500 1.500-2.500 3S4.500 16.500 3.500 16.500c2.500 1 6.500.5 6.500-3" />
    </>
  ),
  erase: (
    <>
      <path d="m11.500 4 4.500 4.500-7.500 7.500H6L3.500 13.500z" />
      <path d="m7.500 8 4.500 4.500M10 16.500h6.500" />
    </>
  ),
  pan: (
    <path d="M6.500 11V6a1.250 1.250 0 0 1 2.500 0v3.500V4.500a1.250 1.250 0 0 1 2.500 0v5V5.500a1.250 1.250 0 0 1 2.500 0V10v-2a1.250 1.250 0 0 1 2.500 0v4c0 3-2 5-4.700 5-2.300 0-3.500-1-4.500-2.600L4.300 11a1.250 1.250 0 0 1 2.200-1.200" />
  ),
  everything: (
    <>
      <path d="M10 3v3M10 14v3M3 10h3M14 10h3M5 5l2 2M13 13l2 2M15 5l-2 2M7 13l-2 2" />
      <circle cx="10" cy="10" r="1.500" />
    </>
  ),
  undo: <path d="M7 4 3.500 7.500 7 11M4 7.500h7.500a4.500 4.500 0 0 1 0 9H8" />,
  redo: <path d="m13 4 3.500 3.500L13 11M16 7.500H8.500a4.500 4.500 0 0 0 0 9H12" />,
  zoomIn: <path d="M10 4.500v11M4.500 10h11" />,
  zoomOut: <path d="M4.500 10h11" />,
  fit: <path d="M3.500 7.500v-4h4M12.500 3.500h4v4M16.500 12.500v4h-4M7.500 16.500h-4v-4" />,
  sun: (
    <>
      <circle cx="10" cy="10" r="3" />
      <path d="M10 2.500v2M10 15.500v2M2.500 10h2M15.500 10h2M4.700 4.700l1.400 1.400M13.900 13.900l1.400 1.400M15.300 4.700l-1.400 1.400M6.100 13.900l-1.400 1.400" />
    </>
  ),
  moon: <path d="M16 12.500A6.500 6.500 0 0 1 7.500 4a6.500 6.500 0 1 0 8.500 8.500z" />,
  help: (
    <>
      <circle cx="10" cy="10" r="7" />
      <path d="M8 8a2 2 0 1 1 2.800 1.900c-.6.3-.8.700-.8 1.400" />
      <circle cx="10" cy="13.500" r=".4" fill="currentColor" />
    </>
  ),
  export: <path d="M10 12.500V3.500M6.500 7 10 3.500 13.500 7M4 11.500v4h12v-4" />,
  open: <path d="M3.500 15.500v-11h4.500l1.500 2h7v9z" />,
  eye: (
    <>
      <path d="M2.500 10S5 5 10 5s7.500 5 7.500 5-2.500 5-7.500 5-7.500-5-7.500-5z" />
      <circle cx="10" cy="10" r="2" />
    </>
  ),
  eyeOff: (
    <path d="M3.500 3.500l13 13M8 5.300c.6-.2 1.300-.3 2-.3 5 0 7.500 5 7.500 5a12 12 0 0 1-2.200 2.800M12.500 14.500c-.8.300-1.600.5-2.500.5-5 0-7.500-5-7.500-5a12 12 0 0 1 3-3.400M8.600 8.600a2 2 0 0 0 2.800 2.800" />
  ),
  trash: <path d="M4 6h12M8 6V4h4v2M5.500 6l.7 10h7.600l.7-10M8.500 9v4.500M11.500 9v4.500" />,
  edit: (
    <path d="m4 16 .8-3.200L13 4.600a1.400 1.400 0 0 1 2 0l.4.4a1.400 1.400 0 0 1 0 2L7.200 15.200zM11.500 6l2.500 2.500" />
  ),
  check: <path d="m4.500 10.500 3.500 3.500 7.500-8" />,
  close: <path d="m5 5 10 10M15 5 5 15" />,
  plus: <path d="M10 4.500v11M4.500 10h11" />,
  minus: <path d="M4.500 10h11" />,
  photo: (
    <>
      <rect x="3" y="4" width="14" height="12" rx="2" />
      <circle cx="7" cy="8" r="1.300" />
      <path d="m3.500 14 4-3.500 3 2.500 3-3.500 3.500 4" />
    </>
  ),
  chevron: <path d="m6 8 4 4 4-4" />,
  chip: (
    <>
      <rect x="6" y="6" width="8" height="8" rx="1.500" />
      <path d="M8 3.500V6M12 3.500V6M8 14v2.500M12 14v2.500M3.500 8H6M3.500 12H6M14 8h2.500M14 12h2.500" />
    </>
  ),
  chart: <path d="M3.500 16.500h13M5.500 13.500v-4M9 13.500v-9M12.500 13.500v-6M16 13.500v-3" />,
  people: (
    <>
      <circle cx="7.500" cy="7" r="2.700" />
      <path d="M2.500 16c.4-3 2.500-4.500 5-4.500s4.600 1.500 5 4.500M12.500 4.500a2.700 2.700 0 0 1 0 5M14.500 12c1.700.6 2.700 2 3 4" />
    </>
  ),
  lock: (
    <>
      <rect x="4.500" y="9" width="11" height="7.500" rx="1.500" />
      <path d="M7 9V6.500a3 3 0 0 1 6 0V9" />
    </>
  ),
} satisfies Record<string, JSX.Element>;

export type IconName = keyof typeof DRAWN;

export function Icon({ name, size = 18 }: { name: IconName; size?: number }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 20 20"
      fill="none"
      stroke="currentColor"
      stroke-width="1.500"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      {DRAWN[name]}
    </svg>
  );
}
