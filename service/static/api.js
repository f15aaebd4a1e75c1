// Talks to the service. Every failure becomes a Problem with a title and a detail for people.

const FORMATS = "image/avif,image/webp,image/jpeg;q=0.8";
const KEY = "compass-key";

export class Problem extends Error {
  constructor(status, title, detail = "", retryAfter = null) {
    super(detail ? `${title}: ${detail}` : title);
    Object.assign(this, { status, title, detail, retryAfter });
  }

  get needsKey() {
    return this.status === 401 || this.status === 403;
  }
}

export function useKey(key) {
  sessionStorage.setItem(KEY, key);
}

function credentials() {
  const key = sessionStorage.getItem(KEY);
  return key ? { "X-API-Key": key } : {};
}

/** The Problem in an answer (RFC 9457), or one made of its status. */
function problemOf(status, text, retryAfter) {
  try {
    const { title, detail } = JSON.parse(text);
    if (title) return new Problem(status, title, detail, retryAfter);
  } catch { /* not JSON: a proxy's page */ }
  return new Problem(status, `The service answered ${status}`, "", retryAfter);
}

const seconds = (header) => (header && /^\d+$/.test(header) ? Number(header) : null);

async function ask(path, { headers = {}, ...options } = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { ...credentials(), ...headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The service cannot be reached");
  }
  if (answer.ok) return answer;
  throw problemOf(answer.status, await answer.text(), seconds(answer.headers.get("Retry-After")));
}

export async function list(cursor, limit = 40) {
  const query = new URLSearchParams({ limit, ...(cursor && { cursor }) });
  return (await ask(`/images?${query}`)).json();
}

export async function info(id) {
  return (await ask(`/images/${encodeURIComponent(id)}/info`)).json();
}

export async function remove(id) {
  await ask(`/images/${encodeURIComponent(id)}`, { method: "DELETE" });
}

/** A rendering as a blob, and the story its headers tell. */
export async function picture(id, parameters, signal) {
  const query = new URLSearchParams(parameters);
  const answer = await ask(`/images/${encodeURIComponent(id)}?${query}`, {
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

/** Uploads a file; `onProgress` gets the share sent, 0 to 1. Resolves to the picture's info. */
export function upload(file, quality, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/images?quality=${quality}`);
    for (const [name, value] of Object.entries(credentials())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.upload.onload = () => onProgress(1);
    request.onload = () => {
      const retryAfter = seconds(request.getResponseHeader("Retry-After"));
      if (request.status === 200 || request.status === 201) resolve(JSON.parse(request.responseText));
      else reject(problemOf(request.status, request.responseText, retryAfter));
    };
    request.onerror = () => reject(new Problem(0, "The connection broke"));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    const form = new FormData();
    form.append("file", file);
    request.send(form);
  });
}
