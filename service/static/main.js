// Ties the parts of the page together. The open picture stands in the address: /#id.

import * as api from "./api.js";
import { Gallery } from "./gallery.js";
import { startUploads } from "./upload.js";
import { answerOf, Viewer } from "./viewer.js";

const dialog = document.getElementById("key-dialog");
let asking = null;

/** Asks for an API key, once for all who need it; resolves to whether one was given. */
function onKeyNeeded() {
  asking ??= answerOf(dialog).then((answer) => {
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
});

const gallery = new Gallery({
  onKeyNeeded,
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
    viewer.open(await api.info(id));
    document.getElementById("viewer").scrollIntoView({ block: "nearest" });
    document.getElementById("viewer-title").focus({ preventScroll: true });
  } catch (error) {
    viewer.close();
    if (error.needsKey && (await onKeyNeeded())) openHash();
    else gallery.report(error);
  }
}

addEventListener("hashchange", openHash);
startUploads({
  onKeyNeeded,
  onStored(info) {
    gallery.add(info);
    location.hash = info.id;
  },
});
gallery.load();
if (location.hash) openHash();
