// next.config.js: images: { loader: "custom", loaderFile: "./node_modules/compass-images-kit/loaders/next.js" }
// <Image src="https://img.example.org/images/ID" width={640} height={400} alt="…" />
import { pictureUrl } from "../compass.js";

export default function compassLoader({ src, width, quality }) {
  return pictureUrl(src, { width, q: quality });
}
