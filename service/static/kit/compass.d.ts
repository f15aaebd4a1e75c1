/** How a picture is given back: the parameters of GET /images/{id}. */
export interface Rendering {
  /** CSS pixels; one alone leaves the other free. */
  width?: number | null;
  height?: number | null;
  /** contain (default), cover (the overhang is cut off), fill (stretched), inside (never enlarged). */
  fit?: "contain" | "cover" | "fill" | "inside" | null;
  /** The point that `cover` keeps in sight, as shares of width and height, or "auto". */
  focus?: [number, number] | "auto" | null;
  /** Device pixels a CSS pixel, 0.1 to 5. */
  dpr?: number | null;
  upscale?: boolean | null;
  layer?: number | null;
  /** A name of COMPASS_PRESETS. */
  preset?: string | null;
  /** Unset: by the browser's Accept. */
  format?: "avif" | "webp" | "jpeg" | "png" | null;
  /** 1 to 100. */
  q?: number | null;
  /** rrggbb */
  background?: string | null;
}

/** How an upload is coded and kept: the parameters of POST /images. */
export interface Coding {
  quality?: number | null;
  /** Such as [320, 640, 1280]. */
  widths?: number[] | null;
  max_width?: number | null;
  /** Seconds. */
  ttl?: number | null;
  focus?: [number, number] | "auto" | null;
  metadata?: "none" | "copyright" | null;
  /** The first frame of an animation, which is refused otherwise. */
  frame?: 0 | null;
  name?: string | null;
}

/** What the service says of a picture: the JSON of /info. */
export interface Info {
  id: string;
  url: string;
  width: number;
  height: number;
  bytes: number;
  source_bytes: number;
  source_format: string;
  quality: number;
  alpha: boolean;
  kind: "photograph" | "lossless" | "avif";
  created: string;
  expires: string | null;
  layers: { width: number; height: number; bytes: number; prefix: number }[];
  thumbhash: string;
  average: string;
  srcset: string;
}

export interface Progress {
  stage: "sending" | "waiting" | "coding" | "storing" | "done";
  percent: number;
}

/** `picture` is an id, or a URL of a picture without parameters; `base` such as https://img.example.org. */
export function pictureUrl(picture: string, parameters?: Rendering, base?: string): string;
export function queryOf(parameters: Rendering | Coding): string;
export function srcset(info: Pick<Info, "id" | "srcset">, parameters?: Rendering, base?: string): string;
export function widthsOf(info: Pick<Info, "srcset">): number[];
export function sizes(widths: string | Record<string, string>): string;
/** `expires` in seconds since 1970. On servers only: whoever has the key can open every picture. */
export function signedUrl(url: string, key: string, expires?: number | null): Promise<string>;
/** A data URL; "" for what is no ThumbHash. */
export function placeholder(thumbhash: string): string;
export function upload(
  file: Blob | ArrayBuffer | Uint8Array,
  options?: Coding & {
    base?: string;
    key?: string | null;
    signal?: AbortSignal | null;
    onProgress?: (progress: Progress) => void;
    /** Gets the id of the job, which `follow` takes up again, such as after a page was loaded anew. */
    onJob?: (job: string) => void;
  },
): Promise<Info>;
/** Outlasts connections that break for less than half a minute. */
export function follow(
  job: string,
  options?: {
    base?: string;
    key?: string | null;
    signal?: AbortSignal | null;
    onProgress?: (progress: Progress) => void;
  },
): Promise<Info>;

export class Problem extends Error {
  constructor(status: number, title: string, detail?: string, retryAfter?: number | null);
  /** The HTTP status; 0 where there was no answer. */
  status: number;
  title: string;
  detail: string;
  /** Seconds after which to come back, where the service said so. */
  retryAfter: number | null;
}
export function problemOf(status: number, text: string, retryAfter?: string | null): Problem;
