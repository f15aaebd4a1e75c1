// The drop zone and the list of uploads under way: one at a time, each with its progress.

import * as api from "./api.js";
import { bytes, element } from "./words.js";

const TRIES = 4;

const pause = (seconds, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("cancelled", "AbortError"));
    });
  });

/** `onStored(info)` runs for every picture kept, `onKeyNeeded()` resolves to whether to try again. */
export function startUploads({ onStored, onKeyNeeded }) {
  const drop = document.getElementById("drop");
  const input = document.getElementById("file");
  const quality = document.getElementById("coding-quality");
  const shown = document.getElementById("coding-quality-value");
  const transfers = document.getElementById("transfers");
  const announcer = document.getElementById("announcer");
  let last = Promise.resolve();

  quality.addEventListener("input", () => { shown.value = quality.value; });
  input.addEventListener("change", () => {
    add(input.files);
    input.value = "";
  });

  let depth = 0;
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => { if (carriesFiles(event)) drop.classList.toggle("over", ++depth > 0); });
  document.addEventListener("dragleave", (event) => { if (carriesFiles(event)) drop.classList.toggle("over", --depth > 0); });
  document.addEventListener("dragover", (event) => { if (carriesFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth = 0;
    drop.classList.remove("over");
    add(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => add(event.clipboardData?.files ?? []));

  function add(files) {
    for (const file of files) {
      const row = new Row(file);
      transfers.append(row.element);
      last = last.then(() => send(row, file, quality.value));
    }
  }

  async function send(row, file, chosenQuality) {
    try {
      const info = await patiently(row, () =>
        api.upload(file, chosenQuality, (share) => row.progress(share), row.signal));
      row.element.remove();
      announcer.textContent = `${file.name} is stored: ${bytes(info.bytes)} of ${bytes(info.source_bytes)}.`;
      onStored(info);
    } catch (error) {
      if (error.name === "AbortError") row.element.remove();
      else if (error.needsKey && (await onKeyNeeded())) await send(row, file, chosenQuality);
      else row.fail(error);
    } finally {
      row.stop();
    }
  }

  /** Tries again when the service says when to come back. */
  async function patiently(row, work) {
    for (let left = TRIES - 1; ; left--) {
      try {
        return await work();
      } catch (error) {
        if (!(error.retryAfter && left)) throw error;
        row.say(`The service is busy; trying again in ${error.retryAfter} s`);
        await pause(error.retryAfter, row.signal);
      }
    }
  }
}

/** One upload in the list. */
class Row {
  #controller = new AbortController();
  #timer = null;

  constructor(file) {
    this.state = element("span", { className: "state", textContent: `${bytes(file.size)}, waiting` });
    this.bar = element("progress", { max: 1, value: 0 });
    this.bar.setAttribute("aria-label", `Upload of ${file.name}`);
    this.button = element("button", { type: "button", className: "quiet", textContent: "Cancel" });
    this.button.setAttribute("aria-label", `Cancel ${file.name}`);
    this.button.addEventListener("click", () => {
      this.#controller.abort();
      this.element.remove();
    });
    const name = element("span", { className: "name", textContent: file.name });
    this.element = element("li", { className: "transfer" }, name, this.state, this.button, this.bar);
  }

  get signal() {
    return this.#controller.signal;
  }

  say(text) {
    this.stop();
    this.bar.removeAttribute("value");
    this.state.textContent = text;
  }

  progress(share) {
    if (share < 1) {
      this.bar.value = share;
      this.state.textContent = `Uploading, ${Math.round(100 * share)} %`;
    } else if (this.#timer === null) {
      this.bar.removeAttribute("value");
      const start = performance.now();
      const tick = () => {
        this.state.textContent = `Coding, ${Math.round((performance.now() - start) / 1000)} s`;
      };
      tick();
      this.#timer = setInterval(tick, 500);
    }
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = null;
  }

  fail(error) {
    this.element.classList.add("failed");
    this.state.textContent = error.message;
    this.state.setAttribute("role", "alert");
    this.bar.remove();
    this.button.textContent = "Dismiss";
    this.button.focus();
  }
}
