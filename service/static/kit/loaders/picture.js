// A plain <picture>: pictureOf(await (await fetch("https://img.example.org/images/ID/info")).json(), "A red boat", "100vw")
import { pictureUrl, srcset } from "../compass.js";

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");

/** HTML for browsers that do not say in Accept what they read, or for caches that heed no Vary. */
export const pictureOf = (info, alt, sizes = "100vw", base = "") => `<picture>
  ${["avif", "webp"].map((format) =>
    `<source type="image/${format}" srcset="${escaped(srcset(info, { format }, base))}" sizes="${escaped(sizes)}">`).join("\n  ")}
  <img src="${escaped(pictureUrl(info.id, { format: "jpeg" }, base))}" width="${info.width}" height="${info.height}" alt="${escaped(alt)}" loading="lazy">
</picture>`;
