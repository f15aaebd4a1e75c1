// The kit for sites: URLs of pictures, signatures, srcset and sizes, placeholders, uploads with progress.
// One module without dependencies, for browsers and for Node 20 and later. Types: compass.d.ts.

const PICTURE = /^((?:https?:\/\/[^?#]*?)?)(?:\/images)?\/?([a-z2-7]{32})$/;

// URLs

/** The URL of a rendering; see compass.d.ts for the parameters. Throws for what names no picture. */
export function pictureUrl(picture, parameters = {}, base = "") {
  const found = PICTURE.exec(picture);
  if (!found) throw new RangeError(`${picture} is neither an id nor a URL of a picture`);
  const query = queryOf(parameters);
  return `${(base || found[1]).replace(/\/+$/, "")}/images/${found[2]}${query && `?${query}`}`;
}

/** Parameters as a query string, in their order; those that are null or undefined are left out. */
export function queryOf(parameters) {
  return urlencoded(Object.entries(parameters)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) => [name, String(value)]));
}

/** One candidate for each width that the service offers of a picture; `info` is the JSON of /info. */
export function srcset(info, parameters = {}, base = "") {
  return widthsOf(info)
    .map((width) => `${pictureUrl(info.id, { ...parameters, width }, base)} ${width}w`).join(", ");
}

/** The widths that the service offers of a picture, in pixels, smallest first. */
export function widthsOf(info) {
  return [...info.srcset.matchAll(/ (\d+)w(?:,|$)/g)].map(([, width]) => Number(width));
}

/** `sizes` of an <img>: widths by media condition, the default one under "". */
export function sizes(widths) {
  if (typeof widths === "string") return widths;
  const conditional = Object.entries(widths).filter(([condition]) => condition);
  return [...conditional.map((pair) => pair.join(" ")), widths[""] ?? "100vw"].join(", ");
}

// Signatures

/**
 * A URL, whole or from its path on, with its signature; `expires` is in seconds since 1970. For servers:
 * whoever has the key can open every picture.
 */
export async function signedUrl(url, key, expires = null) {
  if (url.includes("#")) throw new RangeError("a URL with a fragment cannot be signed");
  const [, origin, path, query = ""] = /^([a-z]+:\/\/[^/?]*)?([^?]*)(?:\?(.*))?$/s.exec(url);
  const pairs = [...new URLSearchParams(`?${query}`)].filter(([name]) => name !== "signature" && name !== "expires");
  if (expires !== null) pairs.push(["expires", String(expires)]);
  const text = `${path}?${urlencoded([...pairs].sort(byCodePoints))}`;
  return `${origin ?? ""}${path}?${urlencoded([...pairs, ["signature", await hmac(text, key)]])}`;
}

async function hmac(text, key) {
  const utf8 = new TextEncoder();
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const imported = await crypto.subtle.importKey("raw", utf8.encode(key), algorithm, false, ["sign"]);
  const signature = new Uint8Array(await crypto.subtle.sign("HMAC", imported, utf8.encode(text)));
  return base64(signature).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** As Python's urlencode writes it, which is what the service signs. */
const urlencoded = (pairs) => pairs.map((pair) => pair.map(escaped).join("=")).join("&");

const escaped = (text) => encodeURIComponent(text)
  .replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`).replaceAll("%20", "+");

/** The order of Python's sorted: by code points, where JavaScript's own is by halves of them. */
function byCodePoints(one, other) {
  for (const k of [0, 1]) {
    const [a, b] = [[...one[k]], [...other[k]]];
    for (let i = 0; i < Math.max(a.length, b.length); i++) {
      const difference = (a[i]?.codePointAt(0) ?? -1) - (b[i]?.codePointAt(0) ?? -1);
      if (difference) return difference;
    }
  }
  return 0;
}

const base64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));

// Placeholders

const LONGEST = 32; // pixels

/** `info.thumbhash` (evanw.github.io/thumbhash) as the data URL of a small PNG; "" for what is none. */
export function placeholder(thumbhash) {
  try {
    return painted(Uint8Array.from(atob(thumbhash), (sign) => sign.charCodeAt(0)));
  } catch (error) {
    if (error instanceof RangeError || error.name === "InvalidCharacterError") return "";
    throw error;
  }
}

function painted(bytes) {
  if (bytes.length < 6) throw new RangeError("no ThumbHash");
  const head = bytes[0] | (bytes[1] << 8) | (bytes[2] << 16);
  const tail = bytes[3] | (bytes[4] << 8);
  const hasAlpha = Boolean(head >> 23);
  const most = hasAlpha ? 5 : 7;
  const [across, down] = tail >> 15 ? [most, tail & 7] : [tail & 7, most];
  let position = 2 * (hasAlpha ? 6 : 5);
  const nibble = () => {
    if (position >= 2 * bytes.length) throw new RangeError("the ThumbHash ends too soon");
    const value = (bytes[position >> 1] >> (4 * (position & 1))) & 15;
    position += 1;
    return value;
  };
  const luma = channel(nibble, (head & 63) / 63, ((head >> 18) & 31) / 31, Math.max(3, across), Math.max(3, down));
  const yellow = channel(nibble, ((head >> 6) & 63) / 31.5 - 1, (1.25 * ((tail >> 3) & 63)) / 63, 3, 3);
  const red = channel(nibble, ((head >> 12) & 63) / 31.5 - 1, (1.25 * ((tail >> 9) & 63)) / 63, 3, 3);
  const opacity = hasAlpha ? channel(nibble, (bytes[5] & 15) / 15, (bytes[5] >> 4) / 15, 5, 5) : () => 1;

  const ratio = across / Math.max(1, down);
  const width = Math.max(1, Math.round(LONGEST * Math.min(1, ratio)));
  const height = Math.max(1, Math.round(LONGEST / Math.max(1, ratio)));
  const rows = [];
  for (let row = 0; row < height; row++) {
    rows.push(0); // no filter
    for (let column = 0; column < width; column++) {
      const [x, y] = [(column + 0.5) / width, (row + 0.5) / height];
      const [l, p, q] = [luma(x, y), yellow(x, y), red(x, y)];
      const b = l - (2 / 3) * p;
      const r = (3 * l - b + q) / 2;
      for (const value of [r, r - q, b, opacity(x, y)]) rows.push(Math.round(255 * Math.min(1, Math.max(0, value))));
    }
  }
  return `data:image/png;base64,${base64(png(width, height, rows))}`;
}

/** One channel as a function of x and y, 0 to 1: a sum of cosines, its mean first. */
function channel(nibble, mean, scale, across, down) {
  const waves = [[0, 0, mean]];
  for (let v = 0; v < down; v++) {
    for (let u = v ? 0 : 1; u * down < across * (down - v); u++) waves.push([u, v, 2 * scale * (nibble() / 7.5 - 1)]);
  }
  return (x, y) => waves.reduce((sum, [u, v, a]) => sum + a * Math.cos(Math.PI * u * x) * Math.cos(Math.PI * v * y), 0);
}

/** RGBA rows as a PNG, in one block that is not compressed: they have at most 4 kB. */
function png(width, height, rows) {
  const word = (value) => [24, 16, 8, 0].map((bits) => (value >>> bits) & 255);
  const chunk = (name, data) => {
    const body = [...Array.from(name, (sign) => sign.charCodeAt(0)), ...data];
    return [...word(data.length), ...body, ...word(crc32(body))];
  };
  const pair = (value) => [value & 255, value >> 8];
  let [a, b] = [1, 0];
  for (const byte of rows) [a, b] = [(a + byte) % 65521, (a + byte + b) % 65521];
  const idat = [0x78, 1, 1, ...pair(rows.length), ...pair(~rows.length & 0xffff), ...rows, ...word(((b << 16) | a) >>> 0)];
  const ihdr = [...word(width), ...word(height), 8, 6, 0, 0, 0];
  return [137, 80, 78, 71, 13, 10, 26, 10, ...chunk("IHDR", ihdr), ...chunk("IDAT", idat), ...chunk("IEND", [])];
}

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let k = 0; k < 8; k++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

// Uploads

/** What the service, or nobody, answered: `status` is 0 where there was no answer. */
export class Problem extends Error {
  constructor(status, title, detail = "", retryAfter = null) {
    super(detail ? `${title}: ${detail}` : title);
    Object.assign(this, { status, title, detail, retryAfter });
  }
}

/** The Problem in an answer (RFC 9457), or one made of its status. */
export function problemOf(status, text, retryAfter = null) {
  const seconds = /^\d+$/.test(retryAfter ?? "") ? Number(retryAfter) : null;
  try {
    const { title, detail } = JSON.parse(text);
    if (title) return new Problem(status, title, detail, seconds);
  } catch { /* not JSON: a proxy's page */ }
  return new Problem(status, `The service answered ${status}`, "", seconds);
}

const POLL = 400; // milliseconds, at first
const SLOWEST_POLL = 2000;
const QUESTIONS = 6; // in a row without an answer until a job is given up, after half a minute
const FIRST_REST = 1000; // milliseconds after a question without an answer; doubled after each

/**
 * Uploads a picture and resolves to its info once it is stored, however long that takes. `onProgress` gets
 * {stage, percent}: "sending", then the stages of the service's job, whose id `onJob` gets. Rejects with a Problem.
 */
export async function upload(
  file, { base = "", key = null, signal = null, onProgress = () => {}, onJob = () => {}, ...coding } = {},
) {
  const [service, query] = [base.replace(/\/+$/, ""), queryOf(coding)];
  const credentials = key ? { "X-API-Key": key } : {};
  const headers = { ...credentials, Prefer: "respond-async", "Content-Type": "application/octet-stream" };
  const send = globalThis.XMLHttpRequest ? sentWithProgress : sent;
  const answer = await send(`${service}/images${query && `?${query}`}`, file, headers, signal, onProgress);
  if (answer.status === 202) {
    const { id } = JSON.parse(answer.text);
    onJob(id);
    return follow(id, { base, key, signal, onProgress });
  }
  if (answer.status === 200 || answer.status === 201) return JSON.parse(answer.text);
  throw problemOf(answer.status, answer.text, answer.retryAfter);
}

/**
 * Follows a job until it is over, as `upload` does. One that is gone was not finished: send its picture again. A
 * connection that breaks for less than half a minute does not matter.
 */
export async function follow(job, { base = "", key = null, signal = null, onProgress = () => {} } = {}) {
  const url = `${base.replace(/\/+$/, "")}/jobs/${encodeURIComponent(job)}`;
  const headers = key ? { "X-API-Key": key } : {};
  for (let pause = POLL; ; pause = Math.min(SLOWEST_POLL, 1.3 * pause)) {
    const answer = await askedPatiently(url, { headers, signal });
    if (answer.status !== 200) throw problemOf(answer.status, answer.text, answer.retryAfter);
    const { state, stage, percent, picture, problem } = JSON.parse(answer.text);
    onProgress({ stage, percent });
    if (state === "stored" && picture) return picture;
    if (state === "stored") throw new Problem(404, "Not found", "the picture was deleted meanwhile");
    if (state === "failed") throw new Problem(problem.status, problem.title, problem.detail);
    await rest(pause, signal);
  }
}

async function askedPatiently(url, options) {
  for (let [left, pause] = [QUESTIONS - 1, FIRST_REST]; ; left--, pause *= 2) {
    try {
      return await asked(url, options);
    } catch (error) {
      if (error.status !== 0 || !left) throw error;
    }
    await rest(pause, options.signal);
  }
}

/** Waits; an abort ends it at once, with the signal's reason. */
async function rest(milliseconds, signal) {
  signal?.throwIfAborted();
  let timer, abort;
  try {
    await new Promise((resolve, reject) => {
      timer = setTimeout(resolve, milliseconds);
      abort = () => reject(signal.reason);
      signal?.addEventListener("abort", abort);
    });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

/** A whole answer, in the form of `sentWithProgress`; a Problem of status 0 where the connection broke. */
async function asked(url, options) {
  try {
    const answer = await fetch(url, options);
    return { status: answer.status, text: await answer.text(), retryAfter: answer.headers.get("Retry-After") };
  } catch (error) {
    if (error.name === "AbortError" || options.signal?.aborted) throw error;
    throw new Problem(0, "The service cannot be reached");
  }
}

async function sent(url, body, headers, signal, onProgress) {
  onProgress({ stage: "sending", percent: 0 });
  return asked(url, { method: "POST", body, headers, signal });
}

/** As `sent`, in a browser, where alone it is told how much of a body has left. */
function sentWithProgress(url, body, headers, signal, onProgress) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) throw new DOMException("cancelled", "AbortError");
    const request = new XMLHttpRequest();
    request.open("POST", url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ lengthComputable, loaded, total }) =>
      lengthComputable && onProgress({ stage: "sending", percent: Math.round((100 * loaded) / total) });
    request.onload = () => resolve({
      status: request.status,
      text: request.responseText,
      retryAfter: request.getResponseHeader("Retry-After"),
    });
    request.onerror = () => reject(new Problem(0, "The connection broke"));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal?.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}
