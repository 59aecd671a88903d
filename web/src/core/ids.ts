// Numbers for images that independent workers agree on; the same rule as Python's records/ids.

/** N for a file called sa_N, otherwise the top 53 bits of the SHA-256 of its bytes. */
export function imageIdFor(fileName: string, sha256: string): number {
  const base = fileName.split(/[\\/]/).at(-1) ?? "";
  const stem = base.includes(".", 1) ? base.slice(0, base.lastIndexOf(".")) : base;
  const match = /^sa_([0-9]+)$/.exec(stem);
  if (match !== null && Number(match[1]) <= Number.MAX_SAFE_INTEGER) return Number(match[1]);
  return Number(BigInt(`0x${sha256}`) >> 203n);
}
