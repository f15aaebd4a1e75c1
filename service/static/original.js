// The stored picture beside its original, which the browser still has, and beside files of the same bytes.

import * as api from "./api.js";
import { browserWrites, canvasOf, fileOfSize, psnr, resizedTo } from "./pixels.js";
import { bytes, size } from "./words.js";

const find = (id) => document.getElementById(id);
const decibels = (value) => (Number.isFinite(value) ? `${value.toFixed(2)} dB` : "no loss");

export class OriginalComparison {
  #info = null;
  #original = null;
  #urls = [];
  #turn = 0; // of files that are read
  #showing = 0; // of pairs of sides that are made

  /** `onKeyNeeded` as everywhere. */
  constructor() {
    for (const id of ["original-left", "original-right", "original-zoom"]) {
      find(id).addEventListener("change", () => (id === "original-zoom" ? this.#zoom() : this.#show()));
    }
    find("original-split").addEventListener("input", () => this.#split());
    find("original-pan").addEventListener("scroll", () => this.#split());
    addEventListener("resize", () => this.#zoom());
    find("original-file").addEventListener("change", ({ target }) => {
      if (target.files[0]) this.use(target.files[0]);
      target.value = "";
    });
    find("viewer").addEventListener("drop", (event) => {
      const [file] = event.dataTransfer?.files ?? [];
      if (file) this.use(file);
    });
  }

  /** Another picture is open; `file` is its original, if it is known. */
  open(info, file) {
    this.close();
    this.#info = info;
    if (file) this.use(file);
  }

  close() {
    this.#turn += 1;
    this.#showing += 1;
    this.#info = this.#original = null;
    for (const url of this.#urls.splice(0)) URL.revokeObjectURL(url);
    for (const id of ["original-a", "original-b"]) find(id).removeAttribute("src");
    find("original-stage").hidden = true;
    find("original-problem").hidden = true;
    find("original-busy").textContent = "";
  }

  /** Compares with this file, and says so where it cannot be the original. */
  async use(file) {
    const turn = ++this.#turn;
    const info = this.#info;
    find("original-problem").hidden = true;
    try {
      const found = resizedTo(await canvasOf(file), await sizeOf(file, info));
      if (turn !== this.#turn) return;
      this.#original = { canvas: found, blob: file };
      this.#made = new Map([["original", { blob: file, canvas: found, text: `${bytes(file.size)}, the original` }]]);
      find("original-stage").hidden = false;
    } catch (error) {
      if (turn === this.#turn) this.#fail(error);
      return;
    }
    await this.#show();
  }

  #made = new Map();

  /** What stands on a side: {blob, canvas, text}, made at its first use, and again after a failure. */
  async #side(name) {
    const made = this.#made; // of this file
    if (!made.has(name)) made.set(name, this.#make(name));
    try {
      return await made.get(name);
    } catch (error) {
      made.delete(name);
      throw error;
    }
  }

  async #make(name) {
    const { id, bytes: stored } = this.#info;
    if (name === "stored") {
      const { blob } = await api.picture(id, { format: "png" });
      return this.#measured(blob, `${bytes(stored)} stored`);
    }
    const type = `image/${name}`;
    const own = await fileOfSize(stored, browserWrites(this.#original.canvas, type));
    const from = own ? "made by this browser" : "made by the service, of what it stores";
    const blob = own ?? (await fileOfSize(stored, async (q) => (await api.picture(id, { format: name, q })).blob));
    return this.#measured(blob, `${bytes(blob.size)}, ${from}`);
  }

  async #measured(blob, text) {
    const canvas = resizedTo(await canvasOf(blob), this.#original.canvas);
    return { blob, canvas, text: `${text}, ${decibels(await psnr(this.#original.canvas, canvas))}` };
  }

  async #show() {
    const showing = ++this.#showing;
    find("original-problem").hidden = true;
    find("original-busy").textContent = "Comparing…";
    try {
      const sides = await Promise.all(["left", "right"].map((side) => this.#side(find(`original-${side}`).value)));
      if (showing !== this.#showing) return;
      for (const url of this.#urls.splice(0)) URL.revokeObjectURL(url);
      await Promise.all(["a", "b"].map((letter, k) => {
        const url = URL.createObjectURL(sides[k].blob);
        this.#urls.push(url);
        find(`original-${letter}`).src = url;
        find(`original-text-${letter}`).textContent = sides[k].text;
        return find(`original-${letter}`).decode();
      }));
      if (showing !== this.#showing) return;
      this.#zoom();
      find("original-busy").textContent = "";
    } catch (error) {
      if (showing === this.#showing) this.#fail(error);
    }
  }

  /** Fits the picture into the stage, or shows one of its pixels as so many of the screen's. */
  #zoom() {
    if (!this.#original) return;
    const { width, height } = this.#original.canvas;
    const pan = find("original-pan");
    const times = Number(find("original-zoom").value);
    const fitting = Math.min(1 / devicePixelRatio, pan.clientWidth / width, (0.7 * innerHeight) / height);
    const scale = times ? times / devicePixelRatio : fitting;
    const middle = [(pan.scrollLeft + pan.clientWidth / 2) / pan.scrollWidth, (pan.scrollTop + pan.clientHeight / 2) / pan.scrollHeight];
    const sheet = find("original-sheet");
    sheet.style.width = `${width * scale}px`;
    sheet.style.height = `${height * scale}px`;
    sheet.classList.toggle("sharp", times >= 2);
    pan.scrollLeft = middle[0] * pan.scrollWidth - pan.clientWidth / 2;
    pan.scrollTop = middle[1] * pan.scrollHeight - pan.clientHeight / 2;
    this.#split();
  }

  /** The left picture ends at a share of what is seen, wherever that is in the picture. */
  #split() {
    const pan = find("original-pan");
    const share = find("original-split").value / 100;
    const sheet = find("original-sheet");
    sheet.style.setProperty("--end", `${pan.scrollLeft + share * Math.min(pan.clientWidth, sheet.clientWidth)}px`);
    find("original-split").setAttribute("aria-valuetext", `${Math.round(100 * share)} percent`);
  }

  #fail(error) {
    if (error.name === "AbortError") return;
    find("original-busy").textContent = "";
    find("original-problem").textContent = error.message;
    find("original-problem").hidden = false;
  }
}

/** The stored size, if a file of these proportions may have become it; else an error tells. */
async function sizeOf(file, info) {
  const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" }).catch(() => {
    throw new TypeError("This browser cannot show that file, so that it cannot be compared here");
  });
  const found = { width: bitmap.width, height: bitmap.height };
  bitmap.close();
  const expected = Math.round((found.height * info.width) / found.width);
  if (found.width < info.width || Math.abs(expected - info.height) > 1) {
    throw new TypeError(`That file has ${size(found)} pixels, this picture ${size(info)}: it is another one`);
  }
  return { width: info.width, height: info.height };
}
