// ThumbHash (evanw.github.io/thumbhash): about 25 bytes to a blurred placeholder.

const LONGEST = 32;

/** A data URL of the placeholder, or "" when the text is no ThumbHash. */
export function placeholder(base64) {
  const bytes = decodeBase64(base64);
  return bytes && bytes.length >= 5 ? paint(bytes) : "";
}

function decodeBase64(text) {
  try {
    return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  } catch {
    return null;
  }
}

/** Cosine coefficients of one channel: [column, row, value], its mean first. */
function channel(nibbles, mean, scale, across, down) {
  const waves = [[0, 0, mean]];
  for (let row = 0; row < down; row++) {
    for (let column = row ? 0 : 1; column * down < across * (down - row); column++) {
      waves.push([column, row, 2 * scale * (nibbles() / 7.5 - 1)]);
    }
  }
  return (x, y) => waves.reduce((sum, [u, v, value]) => sum + value * Math.cos(Math.PI * u * x) * Math.cos(Math.PI * v * y), 0);
}

function paint(bytes) {
  const head = bytes[0] | (bytes[1] << 8) | (bytes[2] << 16);
  const tail = bytes[3] | (bytes[4] << 8);
  const hasAlpha = Boolean(head >> 23);
  const landscape = Boolean(tail >> 15);
  const limit = hasAlpha ? 5 : 7;
  const across = landscape ? limit : tail & 7;
  const down = landscape ? tail & 7 : limit;

  let position = 2 * (hasAlpha ? 6 : 5);
  const nibbles = () => {
    const value = (bytes[position >> 1] >> (4 * (position & 1))) & 15;
    position += 1;
    return value;
  };
  const luma = channel(nibbles, (head & 63) / 63, ((head >> 18) & 31) / 31, Math.max(3, across), Math.max(3, down));
  const yellowBlue = channel(nibbles, ((head >> 6) & 63) / 31.5 - 1, (1.25 * ((tail >> 3) & 63)) / 63, 3, 3);
  const redGreen = channel(nibbles, ((head >> 12) & 63) / 31.5 - 1, (1.25 * ((tail >> 9) & 63)) / 63, 3, 3);
  const opacity = hasAlpha ? channel(nibbles, (bytes[5] & 15) / 15, (bytes[5] >> 4) / 15, 5, 5) : () => 1;

  const ratio = across / Math.max(1, down);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(LONGEST * Math.min(1, ratio)));
  canvas.height = Math.max(1, Math.round(LONGEST / Math.max(1, ratio)));
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  for (let row = 0; row < canvas.height; row++) {
    for (let column = 0; column < canvas.width; column++) {
      const x = (column + 0.5) / canvas.width;
      const y = (row + 0.5) / canvas.height;
      const [l, p, q] = [luma(x, y), yellowBlue(x, y), redGreen(x, y)];
      const blue = l - (2 / 3) * p;
      const red = (3 * l - blue + q) / 2;
      image.data.set([red, red - q, blue, opacity(x, y)].map((v) => 255 * v), 4 * (row * canvas.width + column));
    }
  }
  context.putImageData(image, 0, 0);
  return canvas.toDataURL();
}
