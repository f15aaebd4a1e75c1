// The panel beside the picture: layers, bytes and time of one answer.

import { bytes, element, milliseconds, percent, size } from "./words.js";

const find = (id) => document.getElementById(id);

/** One button a layer, which asks for that layer's width. */
export function showLayers(info, onChoose) {
  find("layers").replaceChildren(...info.layers.map((layer) => {
    const button = element("button", { type: "button" },
      element("span", { textContent: size(layer) }),
      element("span", { textContent: `+ ${bytes(layer.bytes)}` }));
    button.setAttribute("aria-label", `Layer of ${size(layer)} pixels, ${bytes(layer.bytes)}`);
    button.addEventListener("click", () => onChoose(layer.width));
    return element("li", {}, button);
  }));
}

/** `story` is that of api.picture, and the width that was asked for. */
export function showFacts(info, story) {
  const needed = story.layer + 1;
  [...find("layers").querySelectorAll("button")].forEach((button, k) => {
    button.classList.toggle("used", k < needed);
    button.classList.toggle("top", k === story.layer);
    button.setAttribute("aria-pressed", String(k === story.layer));
  });

  const height = Math.max(1, Math.round((info.height * story.width) / info.width));
  find("answer").textContent = `${size({ width: story.width, height })} ${story.type}, ${bytes(story.bytes)}`;
  const remembered = story.stages.length === 0;
  const part = remembered ? info.layers[story.layer].prefix : story.read;
  find("share").firstElementChild.style.width = `${(100 * part) / story.stored}%`;
  find("share").setAttribute("aria-label", `${percent(part, story.stored)} of the stored bytes`);
  find("read").textContent = remembered
    ? `Answered from memory; ${bytes(part)} of ${bytes(story.stored)} would be read`
    : `${bytes(story.read)} read of ${bytes(story.stored)} stored, ${percent(story.read, story.stored)}`;
  find("decoded").textContent = remembered ? "" : decodedText(story, needed, info.layers.length);
  showTiming(story.stages);
}

function decodedText(story, needed, all) {
  const kept = needed - story.decoded;
  const decoded = `${story.decoded} of ${all} layers decoded`;
  return kept > 0 ? `${decoded}; ${kept === 1 ? "one was" : `${kept} were`} still in memory` : decoded;
}

function showTiming(stages) {
  const total = stages.reduce((sum, stage) => sum + stage.ms, 0);
  find("total").textContent = stages.length ? milliseconds(total) : "none";
  find("timing").setAttribute("aria-label", stages.map((s) => `${s.name} ${milliseconds(s.ms)}`).join(", ") || "none");
  find("timing").replaceChildren(...stages.map((stage) => {
    const part = element("span", { title: `${stage.name}: ${milliseconds(stage.ms)}` });
    part.dataset.stage = stage.name;
    part.style.flexGrow = stage.ms;
    return part;
  }));
  find("legend").replaceChildren(...stages.map((stage) => {
    const item = element("li", { textContent: `${stage.name} ${milliseconds(stage.ms)}` });
    item.dataset.stage = stage.name;
    return item;
  }));
}
