// One stored picture: at any width, two widths or qualities side by side, and what each answer took.

import * as api from "./api.js";
import { showFacts, showLayers } from "./facts.js";
import { OriginalComparison } from "./original.js";
import { DeepZoom } from "./zoom.js";
import { answerOf } from "./dialogs.js";
import { placeholder } from "./kit/compass.js";
import { bytes, day, element, kindText, size } from "./words.js";

const SMALLEST = 32;
const PATIENCE = 180; // milliseconds without a movement of the slider before a width is asked for
const SIDES = ["left", "right"];
const QUALITIES = [
  { text: "usual quality", parameters: {} },
  ...[90, 70, 50, 30, 10].map((q) => ({ text: `quality ${q}`, parameters: { q } })),
  { text: "lossless", parameters: { format: "png" } },
];

const find = (id) => document.getElementById(id);

/** Bytes that are stored, and what they were before a refined stream took the first one's place. */
function storedBytes({ bytes: now, refined }) {
  return refined && refined.before_bytes > now
    ? `Stored ${bytes(refined.before_bytes)}, refined to ${bytes(now)},`
    : bytes(now);
}

/** The original files of pictures that were uploaded since the page was loaded, by id. */
const originals = new Map();

export const rememberOriginal = (info, file) => { if (file) originals.set(info.id, file); };

export class Viewer {
  #comparison = new OriginalComparison();
  #zoom = new DeepZoom();
  #picture = new Frame("picture"); // the one picture, or the right one of two
  #left = new Frame("picture-left");
  #root = find("viewer");
  #info = null;
  #width = 1; // that is shown, in pixels
  #wanted = null; // AbortController of the rendering under way
  #timer = 0;

  /**
   * `onDelete(info)` runs when the picture was deleted, `onRenamed(info)` when it was named, `onStep(way)` when
   * the one before (-1) or after (1) is wanted, `onClose()` when none is; `onKeyNeeded()` resolves to whether to
   * try again.
   */
  constructor({ onDelete, onRenamed, onStep, onClose, onKeyNeeded }) {
    Object.assign(this, { onRenamed, onStep, onClose });
    this.onDelete = onDelete;
    this.onKeyNeeded = onKeyNeeded;
    find("width-slider").addEventListener("input", () => this.#askSoon(this.#widthAt(find("width-slider").value)));
    find("width").addEventListener("change", () => this.show(Number(find("width").value) || this.#width));
    find("split").addEventListener("input", () => this.#split());
    for (const side of SIDES) {
      find(`${side}-quality`).append(...QUALITIES.map(({ text }) => element("option", { textContent: text })));
      for (const choice of ["width", "quality"]) {
        find(`${side}-${choice}`).addEventListener("change", () => this.#compare());
      }
    }
    for (const radio of this.#root.querySelectorAll("[name=mode]")) {
      radio.addEventListener("change", () => this.#mode());
    }
    find("previous").addEventListener("click", () => onStep(-1));
    find("next").addEventListener("click", () => onStep(1));
    find("close").addEventListener("click", () => onClose());
    find("fullscreen").addEventListener("click", () => this.#fullScreen());
    find("stage").addEventListener("fullscreenchange", () => {
      if (this.#info) this.#mode(Math.max(this.#width, this.#widthSeen()));
    });
    find("zoom").addEventListener("click", () => this.#zoom.open(this.#info.id));
    find("name-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#rename();
    });
    document.addEventListener("keydown", (event) => this.#key(event));
    find("copy").addEventListener("click", () => this.#copy());
    find("stream").addEventListener("click", () => this.#stream());
    find("delete").addEventListener("click", () => this.#delete());
  }

  /** Opens a picture at the width it has on this screen. */
  open(info) {
    this.close();
    this.#info = info;
    this.#root.hidden = false;
    this.#entitle();
    find("stage").style.setProperty("--ratio", info.width / info.height);
    find("placeholder").src = placeholder(info.thumbhash);
    find("width").max = info.width;
    find("snippet").textContent = markup(info);
    const saved = info.source_bytes > info.bytes ? `, ${(info.source_bytes / info.bytes).toFixed(1)} times less` : "";
    find("stored").textContent =
      `${storedBytes(info)} of a ${info.source_format} of ${bytes(info.source_bytes)}${saved}; ${kindText(info)}`;
    showLayers(info, (width) => this.show(width));
    const widths = candidates(info).map(([, width]) => parseInt(width, 10));
    for (const side of SIDES) {
      find(`${side}-width`).replaceChildren(...widths.map((width) =>
        element("option", { value: width, textContent: `${width} px` })));
    }
    find("left-width").selectedIndex = 0;
    find("right-width").selectedIndex = widths.length - 1;
    this.#root.querySelector("[name=mode][value=one]").checked = true;
    this.#mode(this.#widthSeen());
    this.#comparison.open(info, originals.get(info.id));
  }

  #entitle() {
    const { name, created } = this.#info;
    find("viewer-title").textContent = name || size(this.#info);
    find("viewer-date").textContent = `${size(this.#info)}, ${bytes(this.#info.bytes)}, ${day(created)}`;
    find("name").value = name;
    find("picture").alt = name || "The picture";
  }

  get zoomed() {
    return this.#zoom.settled;
  }

  /** Arrows go on, Escape closes, unless something else has use for them. */
  #key(event) {
    const busy = this.#root.hidden || document.querySelector("dialog[open]") || document.fullscreenElement;
    if (busy || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Escape") this.onClose();
    if (event.target.closest("input, select, textarea, [tabindex='0']")) return;
    if (event.key === "ArrowLeft") this.onStep(-1);
    if (event.key === "ArrowRight") this.onStep(1);
  }

  /** The width at which the stage shows a picture, in pixels of the screen, of which two a CSS pixel are enough. */
  #widthSeen() {
    return Math.min(this.#info.width, Math.round(find("stage").clientWidth * Math.min(2, window.devicePixelRatio)));
  }

  async #fullScreen() {
    try {
      if (document.fullscreenElement) await document.exitFullscreen();
      else await find("stage").requestFullscreen();
    } catch {
      this.#say("This browser shows nothing in full screen");
    }
  }

  async #rename() {
    const info = this.#info;
    try {
      const named = await api.rename(info.id, find("name").value);
      if (this.#info === info) {
        this.#info = named;
        this.#entitle();
        find("name-state").textContent = "Saved";
        setTimeout(() => { find("name-state").textContent = ""; }, 2000);
      }
      this.onRenamed(named);
    } catch (error) {
      await this.#fail(error, () => this.#rename());
    }
  }

  close() {
    this.#wanted?.abort();
    clearTimeout(this.#timer);
    this.#comparison.close();
    this.#root.hidden = true;
    this.#info = null;
    for (const frame of [this.#picture, this.#left]) frame.put(null);
  }

  /** Shows the picture at a width in pixels. */
  async show(width) {
    if (!this.#info) return;
    width = Math.round(Math.min(this.#info.width, Math.max(1, width)));
    this.#setWidth(width);
    const { id } = this.#info;
    const answers = await this.#fetch([{ width }]);
    if (!answers || !(await this.#picture.put(answers[0].blob)) || this.#info?.id !== id) return;
    showFacts(this.#info, { width, ...answers[0].story });
  }

  #askSoon(width) {
    this.#setWidth(width, false);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.show(width), PATIENCE);
  }

  #setWidth(width, moveSlider = true) {
    const slider = find("width-slider");
    this.#width = width;
    find("width").value = width;
    if (moveSlider) slider.value = this.#placeOf(width);
    slider.setAttribute("aria-valuetext", `${width} pixels`);
  }

  /** The slider is logarithmic: each doubling of the width is the same way to go. */
  #widthAt(place) {
    const least = Math.min(SMALLEST, this.#info.width);
    return Math.round(least * (this.#info.width / least) ** (place / 1000));
  }

  #placeOf(width) {
    const least = Math.min(SMALLEST, this.#info.width);
    const whole = Math.log(this.#info.width / least);
    return whole ? Math.max(0, (1000 * Math.log(width / least)) / whole) : 1000;
  }

  #mode(width = this.#width) {
    const comparing = this.#root.querySelector("[name=mode]:checked").value === "compare";
    find("one-controls").hidden = comparing;
    find("compare-controls").hidden = !comparing;
    for (const id of ["split", "line", "picture-left"]) find(id).hidden = !comparing;
    if (comparing) this.#compare();
    else this.show(width);
  }

  async #compare() {
    const wishes = SIDES.map((side) => ({
      width: Number(find(`${side}-width`).value),
      ...QUALITIES[find(`${side}-quality`).selectedIndex].parameters,
    }));
    this.#split();
    const { id } = this.#info;
    const answers = await this.#fetch(wishes);
    if (!answers) return;
    const put = await Promise.all([this.#left.put(answers[0].blob), this.#picture.put(answers[1].blob)]);
    if (put.includes(false) || this.#info?.id !== id) return;
    answers.forEach(({ story }, k) => {
      find(`${SIDES[k]}-answer`).textContent = `${story.type}, ${bytes(story.bytes)}`;
    });
    showFacts(this.#info, { width: wishes[1].width, ...answers[1].story });
  }

  #split() {
    const value = find("split").value;
    find("stage").style.setProperty("--split", `${value}%`);
    find("split").setAttribute("aria-valuetext", `${Math.round(value)} percent`);
  }

  /** Renderings of this picture; null if something newer was asked for meanwhile, or it failed. */
  async #fetch(wishes) {
    clearTimeout(this.#timer);
    this.#wanted?.abort();
    const controller = new AbortController();
    this.#wanted = controller;
    find("viewer-problem").hidden = true;
    const slow = setTimeout(() => { find("busy").hidden = false; }, 120);
    try {
      return await Promise.all(wishes.map((wish) => api.picture(this.#info.id, wish, controller.signal)));
    } catch (error) {
      if (error.name !== "AbortError") await this.#fail(error, () => this.#mode());
      return null;
    } finally {
      clearTimeout(slow);
      if (this.#wanted === controller) find("busy").hidden = true;
    }
  }

  async #fail(error, again) {
    this.#say(error.message);
    if (api.needsKey(error) && (await this.onKeyNeeded())) again();
  }

  #say(text) {
    find("viewer-problem").textContent = text;
    find("viewer-problem").hidden = false;
  }

  async #copy() {
    const code = find("snippet");
    try {
      await navigator.clipboard.writeText(code.textContent);
      find("copy").textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      find("copy").textContent = "Press Ctrl+C";
    }
    setTimeout(() => { find("copy").textContent = "Copy"; }, 1500);
  }

  /** Saves the stored stream; not by a plain link, which cannot send the key. */
  async #stream() {
    const { id } = this.#info;
    try {
      const url = URL.createObjectURL(await api.stream(id));
      element("a", { href: url, download: `${id}.cmps` }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    } catch (error) {
      await this.#fail(error, () => this.#stream());
    }
  }

  async #delete() {
    const info = this.#info;
    if ((await answerOf(find("confirm"), "Delete this picture for good?")) !== "yes") return;
    try {
      await api.remove(info.id);
    } catch (error) {
      if (error.status !== 404) {
        await this.#fail(error, () => this.#delete());
        return;
      }
    }
    this.onDelete(info);
  }
}

/** An image whose blobs follow each other without flickering; the last that is put holds. */
class Frame {
  #image;
  #turn = 0;

  constructor(id) {
    this.#image = find(id);
  }

  /** Puts a blob, or null, once it can be painted; resolves to whether it was, which it is not after a later one. */
  async put(blob) {
    const turn = ++this.#turn;
    const next = blob && URL.createObjectURL(blob);
    if (next) await element("img", { src: next }).decode().catch(() => {});
    if (turn !== this.#turn) {
      URL.revokeObjectURL(next);
      return false;
    }
    const before = this.#image.src;
    if (next) this.#image.src = next;
    else this.#image.removeAttribute("src");
    if (before.startsWith("blob:")) URL.revokeObjectURL(before);
    return true;
  }
}

/** The [address, "123w"] of every width that is offered, smallest first. */
function candidates(info) {
  return info.srcset.split(", ").map((candidate) => candidate.split(" "));
}

function markup(info) {
  const absolute = (path) => new URL(path, location.origin).href;
  const srcset = candidates(info).map(([url, width]) => `${absolute(url)} ${width}`);
  return [
    `<img src="${absolute(candidates(info).at(-1)[0])}"`,
    `     srcset="${srcset.join(",\n             ")}"`,
    `     sizes="(max-width: 60rem) 100vw, 60rem"`,
    `     width="${info.width}" height="${info.height}" loading="lazy" alt="">`,
  ].join("\n");
}
