// What is stored, newest first: pages and pictures are fetched when they come into view.

import * as api from "./api.js";
import { placeholder } from "./kit/compass.js";
import { answerOf } from "./dialogs.js";
import { bytes, day, element, size } from "./words.js";

const PASSING = new Set([0, 429, 503]); // statuses of a service that may answer in a moment
const FIRST_PAUSE = 1000; // milliseconds until a tile is asked for again
const LONGEST_PAUSE = 32000;

export class Gallery {
  #grid = document.getElementById("grid");
  #empty = document.getElementById("empty");
  #more = document.getElementById("more-button");
  #problem = document.getElementById("gallery-problem");
  #tiles = new Map();
  #cursor = null;
  #loading = false;
  #current = null;
  #name = "";
  #round = 0; // of searches: what an earlier one finds is of no use any more
  #chosen = new Set();
  #visible = new IntersectionObserver((entries) => this.#appear(entries), { rootMargin: "300px" });

  /** `onOpen(id)` runs when a picture is chosen, `onGone(id)` when one was deleted here, `onKeyNeeded()` resolves to whether to try again. */
  constructor({ onOpen, onGone, onKeyNeeded }) {
    this.onGone = onGone;
    this.onOpen = onOpen;
    this.onKeyNeeded = onKeyNeeded;
    this.#more.addEventListener("click", () => this.load());
    let timer = 0;
    document.getElementById("search").addEventListener("input", ({ target }) => {
      clearTimeout(timer);
      timer = setTimeout(() => this.#search(target.value.trim()), 250);
    });
    document.getElementById("select").addEventListener("click", () => this.#selecting(!this.#grid.classList.contains("selecting")));
    document.getElementById("delete-chosen").addEventListener("click", () => this.#deleteChosen());
    this.#visible.observe(document.getElementById("more"));
  }

  /** Fetches the next page. */
  async load() {
    if (this.#loading) return;
    this.#loading = true;
    this.#problem.hidden = true;
    const round = this.#round;
    try {
      const page = await api.list(this.#cursor, this.#name);
      if (round !== this.#round) return;
      for (const info of page.images) if (!this.#tiles.has(info.id)) this.#grid.append(this.#tile(info));
      this.#cursor = page.next;
      this.#more.hidden = !page.next;
    } catch (error) {
      if (api.needsKey(error) && (await this.onKeyNeeded())) setTimeout(() => this.load());
      this.report(error);
      this.#more.hidden = false;
      return; // a service that fails is not asked for the next page at once
    } finally {
      this.#loading = false;
      if (round !== this.#round) this.load();
      this.#count();
    }
    if (this.#name && this.#cursor && this.#tiles.size === 0) this.load(); // so far nothing has that name
  }

  #search(name) {
    this.#name = name;
    this.#round += 1;
    this.#cursor = null;
    this.#chosen.clear();
    this.#countChosen();
    this.#grid.replaceChildren();
    this.#tiles.clear();
    this.load();
  }

  /** The id of the picture before (-1) or after (1) another, null at the end. */
  beside(id, way) {
    const ids = [...this.#grid.children].map((item) => item.dataset.id);
    const at = ids.indexOf(id);
    return at < 0 ? null : ids[at + way] ?? null;
  }

  #selecting(on) {
    this.#grid.classList.toggle("selecting", on);
    document.getElementById("select").setAttribute("aria-pressed", String(on));
    document.getElementById("select").textContent = on ? "Done" : "Select";
    if (on) return;
    for (const box of this.#grid.querySelectorAll(".choose:checked")) box.checked = false;
    this.#chosen.clear();
    this.#countChosen();
  }

  #countChosen() {
    const button = document.getElementById("delete-chosen");
    button.hidden = this.#chosen.size === 0;
    button.textContent = `Delete ${this.#chosen.size}`;
  }

  async #deleteChosen() {
    const ids = [...this.#chosen];
    if ((await answerOf(document.getElementById("confirm"), `Delete ${ids.length} pictures for good?`)) !== "yes") return;
    this.#problem.hidden = true;
    for (const id of ids) {
      try {
        await api.remove(id);
      } catch (error) {
        if (api.needsKey(error) && (await this.onKeyNeeded())) return this.#deleteChosen();
        if (error.status !== 404) {
          this.report(error);
          break;
        }
      }
      this.onGone(id);
      this.remove(id);
    }
  }

  /** Shows an error at the end of the gallery, and the person that end. */
  report(error) {
    this.#problem.textContent = error.message;
    this.#problem.hidden = false;
    this.#problem.scrollIntoView({ block: "nearest" });
  }

  add(info) {
    if (this.#name && !info.name.toLowerCase().includes(this.#name.toLowerCase())) return;
    this.#tiles.get(info.id)?.remove();
    this.#grid.prepend(this.#tile(info));
    this.#count();
  }

  /** A picture has another name. */
  rename(info) {
    const before = this.#tiles.get(info.id);
    if (before) before.replaceWith(this.#tile(info));
  }

  remove(id) {
    this.#tiles.get(id)?.remove();
    this.#tiles.delete(id);
    this.#chosen.delete(id);
    this.#countChosen();
    this.#count();
  }

  mark(id) {
    this.#current = id;
    for (const [other, item] of this.#tiles) {
      item.firstChild.setAttribute("aria-current", String(other === id));
    }
  }

  #count() {
    this.#empty.hidden = this.#tiles.size > 0 || !this.#problem.hidden || this.#loading;
    this.#empty.textContent = this.#name ? "No picture has that name." : "Nothing yet. The first photo is yours.";
    document.body.classList.toggle("bare", this.#tiles.size === 0 && !this.#name);
  }

  #tile(info) {
    const button = element("button", { type: "button", className: "tile" }, element("img", { alt: "" }));
    const called = info.name || "Picture";
    button.setAttribute("aria-label", `${called}, ${size(info)} pixels, ${bytes(info.bytes)} stored`);
    button.setAttribute("aria-current", String(info.id === this.#current));
    button.addEventListener("click", () => this.onOpen(info.id));
    button.style.backgroundColor = info.average;
    const blurred = placeholder(info.thumbhash);
    if (blurred) button.style.backgroundImage = `url(${blurred})`;
    const box = element("input", { type: "checkbox", className: "choose", checked: this.#chosen.has(info.id) });
    box.setAttribute("aria-label", `Select ${called}, ${day(info.created)}`);
    box.addEventListener("change", () => {
      this.#chosen[box.checked ? "add" : "delete"](info.id);
      this.#countChosen();
    });
    const caption = element("span", { className: "caption", textContent: info.name || day(info.created) });
    caption.title = day(info.created);
    const item = element("li", {}, button, box, caption);
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

  /** The smallest layer is enough for a tile, and is the cheapest to read. A busy service is asked again. */
  async #fill(item) {
    const image = item.querySelector("img");
    for (let pause = FIRST_PAUSE; item.isConnected; pause *= 2) {
      try {
        const { blob } = await api.picture(item.dataset.id, { layer: 0 });
        await show(image, blob);
        return;
      } catch (error) {
        // The placeholder stays; opening the picture tells what is wrong.
        if (!PASSING.has(error.status) || pause > LONGEST_PAUSE) return;
        await new Promise((resolve) => setTimeout(resolve, Math.max(pause, (error.retryAfter ?? 0) * 1000)));
      }
    }
  }
}

async function show(image, blob) {
  image.src = URL.createObjectURL(blob);
  try {
    await image.decode();
    image.classList.add("there");
  } finally {
    URL.revokeObjectURL(image.src);
  }
}
