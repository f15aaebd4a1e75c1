// nuxt.config.ts: image: { provider: "compass", providers: { compass: {
//   provider: "compass-images-kit/nuxt", options: { baseURL: "https://img.example.org" } } } }
// <NuxtImg src="ID" width="640" sizes="100vw md:50vw" />
import { pictureUrl } from "../compass.js";

export default () => ({
  getImage: (src, { modifiers: { width, height, fit, format, quality, background } = {}, baseURL = "" }) => ({
    url: pictureUrl(src, { width, height, fit: fit === "outside" ? null : fit, format, q: quality, background }, baseURL),
  }),
});
