// astro.config.mjs: image: { service: { entrypoint: "compass-images-kit/astro" } }
// <Image src="https://img.example.org/images/ID" width={640} height={400} alt="…" />
import { baseService } from "astro/assets";
import { pictureUrl } from "../compass.js";

const FITS = { cover: "cover", contain: "contain", fill: "fill", "scale-down": "inside" };

export default {
  ...baseService,
  getURL: ({ src, width, height, fit, quality }) =>
    pictureUrl(src, { width, height, fit: FITS[fit] ?? null, q: Number(quality) || null }),
};
