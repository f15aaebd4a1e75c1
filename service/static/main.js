// Ties the parts of the page together. The open picture stands in the address: /#id.

import * as api from "./api.js";
import { answerOf } from "./dialogs.js";
import { Gallery } from "./gallery.js";
import { startUploads } from "./upload.js";
import { rememberOriginal, Viewer } from "./viewer.js";

const dialog = document.getElementById("key-dialog");
let asking = null;

/** Asks for an API key, once for all who need it; resolves to whether one was given. */
function onKeyNeeded() {
  const wrong = api.currentKey();
  const text = wrong ? "The service refused that key. Is there another?" : "This service asks for an API key.";
  asking ??= answerOf(dialog, text).then((answer) => {
    asking = null;
    const key = document.getElementById("key").value;
    if (answer !== "yes" || !key) return false;
    api.useKey(key);
    return true;
  });
  return asking;
}

const viewer = new Viewer({
  onKeyNeeded,
  onDelete(info) {
    gallery.remove(info.id);
    history.replaceState(null, "", location.pathname);
    viewer.close();
    gallery.mark(null);
    document.getElementById("file").focus();
  },
  onRenamed: (info) => gallery.rename(info),
  onStep(way) {
    const id = gallery.beside(location.hash.slice(1), way);
    if (id) location.hash = id;
  },
  onClose() {
    const tile = document.querySelector(".tile[aria-current=true]");
    history.pushState(null, "", location.pathname);
    openHash();
    (tile ?? document.getElementById("file")).focus();
  },
});

const gallery = new Gallery({
  onKeyNeeded,
  onGone(id) {
    if (location.hash === `#${id}`) viewer.onClose();
  },
  onOpen(id) {
    if (location.hash === `#${id}`) openHash();
    else location.hash = id;
  },
});

async function openHash() {
  const id = location.hash.slice(1);
  gallery.mark(id);
  if (!id) {
    viewer.close();
    return;
  }
  try {
    const info = await api.info(id);
    if (location.hash.slice(1) !== id) return; // another one was chosen meanwhile, or none
    viewer.open(info);
    document.getElementById("viewer").scrollIntoView({ block: "nearest" });
    document.getElementById("viewer-title").focus({ preventScroll: true });
  } catch (error) {
    if (location.hash.slice(1) !== id) return;
    viewer.close();
    if (api.needsKey(error) && (await onKeyNeeded())) openHash();
    else gallery.report(error);
  }
}

addEventListener("hashchange", openHash);
startUploads({
  onKeyNeeded,
  onStored(info, file, alone) {
    rememberOriginal(info, file);
    gallery.add(info);
    if (alone) location.hash = info.id;
  },
});
gallery.load();
if (location.hash) openHash();
