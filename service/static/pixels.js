// Pixels of pictures in the browser: how far two are apart, and files of a wanted size.

/** A picture file as a canvas of its own size, upright; throws a TypeError for what the browser cannot read. */
export async function canvasOf(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { imageOrientation: "from-image" });
  } catch {
    throw new TypeError("This browser cannot show that file");
  }
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
  canvas.getContext("2d", { willReadFrequently: true }).drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas;
}

/** The same at another size. */
export function resizedTo(canvas, { width, height }) {
  if (canvas.width === width && canvas.height === height) return canvas;
  const made = Object.assign(document.createElement("canvas"), { width, height });
  const context = made.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(canvas, 0, 0, width, height);
  return made;
}

const ROWS = 256;

/** PSNR of two canvases of one size, in dB, over red, green and blue; Infinity where they are the same. */
export async function psnr(one, other) {
  const { width, height } = one;
  let sum = 0;
  for (let top = 0; top < height; top += ROWS) {
    const rows = Math.min(ROWS, height - top);
    const [a, b] = [one, other].map((canvas) => canvas.getContext("2d").getImageData(0, top, width, rows).data);
    for (let k = 0; k < a.length; k += 4) {
      for (let c = k; c < k + 3; c++) sum += (a[c] - b[c]) ** 2;
    }
    await new Promise((resolve) => setTimeout(resolve)); // the page stays alive
  }
  return 10 * Math.log10(255 ** 2 / (sum / (3 * width * height)));
}

const STEPS = 7;

/**
 * The largest file of a format, of at most so many bytes, that `write(quality)` makes, quality 1 to 100; the
 * smallest that there is if none is small enough. null if the format cannot be written.
 */
export async function fileOfSize(most, write) {
  let [low, high, best] = [1, 100, null];
  for (let step = 0; step < STEPS && low <= high; step++) {
    const quality = step ? Math.floor((low + high) / 2) : 60;
    const blob = await write(quality);
    if (!blob) return null;
    if (!best || (blob.size <= most ? best.size > most || blob.size > best.size : blob.size < best.size)) best = blob;
    if (blob.size <= most) low = quality + 1;
    else high = quality - 1;
  }
  return best;
}

/** Writes a canvas as `type`; null where the browser cannot. */
export const browserWrites = (canvas, type) => (quality) =>
  new Promise((resolve) => canvas.toBlob((blob) => resolve(blob?.type === type ? blob : null), type, quality / 100));
