// Talks to the service. Every failure becomes the kit's Problem, with a title and a detail for people.

import * as kit from "./kit/compass.js";

const FORMATS = "image/avif,image/webp,image/jpeg;q=0.8";
const KEY = "compass-key";

export const useKey = (key) => sessionStorage.setItem(KEY, key);
export const currentKey = () => sessionStorage.getItem(KEY);

/** Whether another key would help. */
export const needsKey = (error) => error.status === 401 || error.status === 403;

export function credentials() {
  const key = currentKey();
  return key ? { "X-API-Key": key } : {};
}

async function ask(path, { headers = {}, ...options } = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { ...credentials(), ...headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new kit.Problem(0, "The service cannot be reached");
  }
  if (answer.ok) return answer;
  throw kit.problemOf(answer.status, await answer.text(), answer.headers.get("Retry-After"));
}

const address = (id, rest = "") => `/images/${encodeURIComponent(id)}${rest}`;

export async function list(cursor, name = "", limit = 40) {
  return (await ask(`/images?${kit.queryOf({ limit, cursor, name: name || null })}`)).json();
}

export async function info(id) {
  return (await ask(address(id, "/info"))).json();
}

/** The stored stream as a blob. */
export async function stream(id) {
  return (await ask(address(id, "/stream"))).blob();
}

export async function remove(id) {
  await ask(address(id), { method: "DELETE" });
}

export async function rename(id, name) {
  return (await ask(address(id, `?${kit.queryOf({ name })}`), { method: "PATCH" })).json();
}

/** A rendering as a blob, and the story its headers tell. */
export async function picture(id, parameters, signal) {
  const answer = await ask(address(id, `?${kit.queryOf(parameters)}`), {
    headers: { Accept: FORMATS, "Cache-Control": "no-store" }, // so that it tells what it took
    signal,
  });
  const blob = await answer.blob();
  const number = (name) => Number(answer.headers.get(name) ?? NaN);
  return {
    blob,
    story: {
      layer: number("Compass-Layer"),
      decoded: number("Compass-Layers-Decoded"),
      read: number("Compass-Bytes-Read"),
      stored: number("Compass-Bytes-Stored"),
      stages: stagesOf(answer.headers.get("Server-Timing") ?? ""),
      bytes: blob.size,
      type: blob.type.replace("image/", "").toUpperCase(),
    },
  };
}

/** `fetch;dur=1.5, encode;dur=3` as [{name, ms}]; entries without a duration are left out. */
function stagesOf(header) {
  return header.split(",").flatMap((entry) => {
    const [name, ...parameters] = entry.trim().split(";");
    const duration = parameters.map((p) => /^\s*dur=([\d.]+)/.exec(p)).find(Boolean);
    return duration ? [{ name, ms: Number(duration[1]) }] : [];
  });
}

/** As the kit's, with the key that was given. */
export const upload = (file, options) => kit.upload(file, { ...options, key: currentKey() });
export const follow = (job, options) => kit.follow(job, { ...options, key: currentKey() });

/** The IIIF description of a picture, whose tiles come from this very host. */
export async function tiles(id) {
  const description = await (await ask(`/iiif/3/${encodeURIComponent(id)}/info.json`)).json();
  return { ...description, id: `${location.origin}/iiif/3/${id}` };
}
