// The queue of uploads: two at a time, in their order; it can be paused, and is remembered over a reload.

import * as api from "./api.js";

const AT_ONCE = 2;
const TRIES = 4;
const AGAIN = [404, 429, 503]; // statuses of a job that is gone, or failed through no fault of its picture
const MEMORY = "compass-uploads";

const pause = (seconds, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("cancelled", "AbortError"));
    });
  });

/** One upload: `state` is waiting, running, stored, failed or cancelled. */
class Entry {
  controller = new AbortController();
  state = "waiting";
  progress = { stage: "waiting", percent: 0 };
  error = null;
  info = null;

  /** `file` is null for one of before the reload, which has a `job` if it was sent. */
  constructor({ file = null, name, size, quality, job = null }) {
    Object.assign(this, { file, name, size, quality, job });
  }

  get over() {
    return !["waiting", "running"].includes(this.state);
  }

  /** How much of it is done, 0 to 1: sending and coding count half each. */
  get share() {
    if (this.over) return 1;
    return (this.progress.stage === "sending" ? 0 : 0.5) + this.progress.percent / 200 - (this.state === "waiting" ? 0.5 : 0);
  }
}

export class Queue {
  entries = [];
  paused = false;

  /** `onChange(entry)` after every step, `onStored(info, file)`, `onKeyNeeded()` resolves to whether to try again. */
  constructor({ onChange, onStored, onKeyNeeded }) {
    Object.assign(this, { onChange, onStored, onKeyNeeded });
  }

  add(file, quality) {
    this.#enter(new Entry({ file, name: file.name, size: file.size, quality }));
  }

  /** Goes on with what was under way before the page was loaded anew. */
  restore() {
    let known = [];
    try {
      known = JSON.parse(sessionStorage.getItem(MEMORY)) ?? [];
    } catch { /* nothing of ours */ }
    for (const one of known) this.#enter(new Entry(one));
  }

  pause(paused) {
    this.paused = paused;
    this.#next();
  }

  cancel(entry) {
    entry.controller.abort();
    if (entry.state === "waiting") this.#end(entry, "cancelled");
  }

  /** Forgets entries that are over. */
  clear(entries = this.entries.filter((entry) => entry.over)) {
    this.entries = this.entries.filter((entry) => !entries.includes(entry));
    this.#remember();
  }

  /** Of all entries: how many, how many are over, the share that is done, and bytes before and after. */
  get sum() {
    const stored = this.entries.filter((entry) => entry.state === "stored");
    const total = (name) => stored.reduce((sum, { info }) => sum + info[name], 0);
    const weight = this.entries.reduce((sum, entry) => sum + entry.size, 0);
    const done = this.entries.reduce((sum, entry) => sum + entry.size * entry.share, 0);
    return {
      count: this.entries.length,
      over: this.entries.filter((entry) => entry.over).length,
      failed: this.entries.filter((entry) => entry.state === "failed").length,
      stored: stored.length,
      share: weight ? done / weight : 1,
      before: total("source_bytes"),
      after: total("bytes"),
    };
  }

  #enter(entry) {
    this.entries.push(entry);
    this.onChange(entry);
    this.#remember();
    this.#next();
  }

  #next() {
    const running = this.entries.filter(({ state }) => state === "running").length;
    const waiting = this.paused ? [] : this.entries.filter(({ state }) => state === "waiting");
    for (const entry of waiting.slice(0, Math.max(0, AT_ONCE - running))) this.#run(entry);
  }

  async #run(entry) {
    entry.state = "running";
    try {
      entry.info = await this.#patiently(entry, () => this.#work(entry));
      this.#end(entry, "stored");
      this.onStored(entry.info, entry.file);
    } catch (error) {
      entry.error = error;
      if (error.name === "AbortError") this.#end(entry, "cancelled");
      else if (api.needsKey(error) && (await this.onKeyNeeded())) {
        entry.state = "waiting";
        this.#next();
      } else this.#end(entry, "failed");
    }
  }

  #work(entry) {
    const signal = entry.controller.signal;
    const onProgress = (progress) => {
      entry.progress = progress;
      this.onChange(entry);
    };
    if (entry.job) return api.follow(entry.job, { signal, onProgress });
    if (!entry.file) throw new Error("It was not sent before the page was loaded anew: choose the file again");
    const onJob = (job) => {
      entry.job = job;
      this.#remember();
    };
    return api.upload(entry.file, { quality: entry.quality, name: entry.name.slice(0, 200), signal, onProgress, onJob });
  }

  /**
   * Tries again when the service says when to come back, and sends again what it has lost or could not do: an
   * answer that names no time tells of the job itself.
   */
  async #patiently(entry, work) {
    for (let left = TRIES - 1; ; left--) {
      try {
        return await work();
      } catch (error) {
        const lost = entry.job && entry.file && !error.retryAfter && AGAIN.includes(error.status);
        if (lost) entry.job = null;
        if (!left || !(error.retryAfter || lost)) throw error;
        entry.progress = { stage: "busy", percent: 0 };
        this.onChange(entry);
        await pause(error.retryAfter ?? 1, entry.controller.signal);
      }
    }
  }

  #end(entry, state) {
    entry.state = state;
    this.onChange(entry);
    this.#remember();
    this.#next();
  }

  #remember() {
    const open = this.entries.filter((entry) => !entry.over);
    const kept = open.map(({ name, size, quality, job }) => ({ name, size, quality, job }));
    sessionStorage.setItem(MEMORY, JSON.stringify(kept));
  }
}
