// What is stored, newest first: pages and pictures are fetched when they come into view.

import * as api from "./api.js";
import { placeholder } from "./kit/compass.js";
import { bytes, element, size } from "./words.js";

export class Gallery {
  #grid = document.getElementById("grid");
  #empty = document.getElementById("empty");
  #more = document.getElementById("more-button");
  #problem = document.getElementById("gallery-problem");
  #tiles = new Map();
  #cursor = null;
  #loading = false;
  #current = null;
  #visible = new IntersectionObserver((entries) => this.#appear(entries), { rootMargin: "300px" });

  /** `onOpen(id)` runs when a picture is chosen, `onKeyNeeded()` resolves to whether to try again. */
  constructor({ onOpen, onKeyNeeded }) {
    this.onOpen = onOpen;
    this.onKeyNeeded = onKeyNeeded;
    this.#more.addEventListener("click", () => this.load());
    this.#visible.observe(document.getElementById("more"));
  }

  /** Fetches the next page. */
  async load() {
    if (this.#loading) return;
    this.#loading = true;
    this.#problem.hidden = true;
    try {
      const page = await api.list(this.#cursor);
      for (const info of page.images) if (!this.#tiles.has(info.id)) this.#grid.append(this.#tile(info));
      this.#cursor = page.next;
      this.#more.hidden = !page.next;
    } catch (error) {
      if (error.needsKey && (await this.onKeyNeeded())) setTimeout(() => this.load());
      this.report(error);
      this.#more.hidden = false;
    } finally {
      this.#loading = false;
      this.#count();
    }
  }

  /** Shows an error above the end of the gallery. */
  report(error) {
    this.#problem.textContent = error.message;
    this.#problem.hidden = false;
  }

  add(info) {
    this.#tiles.get(info.id)?.remove();
    this.#grid.prepend(this.#tile(info));
    this.#count();
  }

  remove(id) {
    this.#tiles.get(id)?.remove();
    this.#tiles.delete(id);
    this.#count();
  }

  mark(id) {
    this.#current = id;
    for (const [other, item] of this.#tiles) {
      item.firstChild.setAttribute("aria-current", String(other === id));
    }
  }

  #count() {
    this.#empty.hidden = this.#tiles.size > 0 || !this.#problem.hidden;
    document.body.classList.toggle("bare", this.#tiles.size === 0);
  }

  #tile(info) {
    const button = element("button", { type: "button", className: "tile" }, element("img", { alt: "" }));
    button.setAttribute("aria-label", `Picture of ${size(info)} pixels, ${bytes(info.bytes)} stored`);
    button.setAttribute("aria-current", String(info.id === this.#current));
    button.addEventListener("click", () => this.onOpen(info.id));
    button.style.backgroundColor = info.average;
    const blurred = placeholder(info.thumbhash);
    if (blurred) button.style.backgroundImage = `url(${blurred})`;
    const item = element("li", {}, button);
    item.style.setProperty("--ratio", Math.min(3, Math.max(0.4, info.width / info.height)));
    item.dataset.id = info.id;
    this.#tiles.set(info.id, item);
    this.#visible.observe(item);
    return item;
  }

  #appear(entries) {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      if (target.id === "more") {
        if (this.#cursor) this.load();
        continue;
      }
      this.#visible.unobserve(target);
      this.#fill(target);
    }
  }

  /** The smallest layer is enough for a tile, and is the cheapest to read. */
  async #fill(item) {
    const image = item.querySelector("img");
    try {
      const { blob } = await api.picture(item.dataset.id, { layer: 0 });
      image.src = URL.createObjectURL(blob);
      await image.decode();
      image.classList.add("there");
      URL.revokeObjectURL(image.src);
    } catch {
      // The placeholder stays; opening the picture tells what is wrong.
    }
  }
}
