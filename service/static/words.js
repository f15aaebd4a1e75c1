// Numbers for people.

const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export function bytes(count) {
  if (count < 1000) return `${count} B`;
  if (count < 999_500) return `${number.format(count / 1e3)} kB`;
  return `${number.format(count / 1e6)} MB`;
}

export function milliseconds(ms) {
  return ms < 1000 ? `${number.format(ms)} ms` : `${number.format(ms / 1000)} s`;
}

export function percent(part, whole) {
  return whole ? `${number.format((100 * part) / whole)} %` : "–";
}

export function size({ width, height }) {
  return `${width} × ${height}`;
}

const days = new Intl.DateTimeFormat("en", { dateStyle: "medium" });

export const day = (time) => days.format(new Date(time));

/** What a picture is kept as. */
export function kindText(info) {
  if (info.kind === "lossless") return "kept without loss, as one WebP file";
  return info.kind === "avif" ? "kept as one AVIF file" : `quality ${info.quality}`;
}

/** A new element with properties, and children (nodes or text). */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}
