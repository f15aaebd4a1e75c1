import type { Info } from "../compass.js";

/** HTML of a `<picture>` that names each format; `base` such as https://img.example.org. */
export function pictureOf(
  info: Pick<Info, "id" | "srcset" | "width" | "height">,
  alt: string,
  sizes?: string,
  base?: string,
): string;
