// Colours that stay apart: hues a golden angle from one another in OKLCH, the same as Python's pictures/colors.
// Source: B. Ottosson, "A perceptual color space for image processing" (2020).

const GOLDEN_ANGLE = Math.PI * (3 - Math.sqrt(5));
const LIGHTNESS = [0.72, 0.62, 0.8];
const CHROMA = 0.16;
const FIRST_HUE = 4.45;

function linearOf(lightness: number, a: number, b: number): [number, number, number] {
  const long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const short = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
    -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
    -0.0041960863 * long - 0.7034186147 * medium + 1.707614701 * short,
  ];
}

function gamma(linear: number): number {
  return linear <= 0.0031308 ? 12.92 * linear : 1.055 * linear ** (1 / 2.4) - 0.055;
}

/** #rrggbb of a colour given in OKLCH (hue in radians), chroma lowered until it fits the screen. */
export function oklchToHex(lightness: number, chroma: number, hue: number): string {
  let linear: [number, number, number] = [0, 0, 0];
  let current = chroma;
  for (let i = 0; i < 12; i++) {
    linear = linearOf(lightness, current * Math.cos(hue), current * Math.sin(hue));
    if (Math.min(...linear) >= -1e-3 && Math.max(...linear) <= 1 + 1e-3) break;
    current *= 0.9;
  }
  const byte = (value: number) =>
    Math.round(255 * gamma(Math.min(Math.max(value, 0), 1)))
      .toString(16)
      .padStart(2, "0");
  return `#${linear.map(byte).join("")}`;
}

/** The colour of mask number `index`; neighbours in number are far apart in hue and lightness. */
export function distinctColour(index: number): string {
  return oklchToHex(LIGHTNESS[index % LIGHTNESS.length]!, CHROMA, FIRST_HUE + index * GOLDEN_ANGLE);
}

export function withAlpha(hex: string, alpha: number): string {
  const [red, green, blue] = rgbOf(hex);
  return `rgba(${red}, ${green}, ${blue}, ${alpha})`;
}

export function rgbOf(hex: string): [number, number, number] {
  const value = Number.parseInt(hex.slice(1), 16);
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}
