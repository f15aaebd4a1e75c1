// The drop zone, and the queue of uploads as people see it.

import { Queue } from "./queue.js";
import { bytes, element, percent } from "./words.js";

const STAGES = { waiting: "Waiting", sending: "Uploading", coding: "Coding", storing: "Storing", busy: "The service is busy; waiting" };
const find = (id) => document.getElementById(id);

/** `onStored(info, file, alone)` for every picture kept; `alone`: it was the only one of the queue. */
export function startUploads({ onStored, onKeyNeeded }) {
  const rows = new Map();
  const queue = new Queue({
    onKeyNeeded,
    onStored: (info, file) => {
      onStored(info, file, queue.entries.length === 1);
      find("announcer").textContent = `${info.name || "The picture"} is stored: ${bytes(info.bytes)} of ${bytes(info.source_bytes)}.`;
    },
    onChange(entry) {
      if (!rows.has(entry)) {
        rows.set(entry, new Row(entry, queue, () => forget([entry])));
        find("transfers").append(rows.get(entry).element);
      }
      rows.get(entry).show();
      if (entry.state === "stored" || entry.state === "cancelled") rows.get(entry).element.remove();
      showSum();
    },
  });

  function forget(entries) {
    for (const entry of entries) rows.get(entry)?.element.remove();
    queue.clear(entries);
    showSum();
  }

  function showSum() {
    const { count, over, failed, stored, share, before, after } = queue.sum;
    const done = over === count;
    find("queue").hidden = count < 2;
    find("queue-bar").value = share;
    const saved = before > after ? `; ${bytes(before)} became ${bytes(after)}, ${percent(before - after, before)} saved` : "";
    find("queue-text").textContent = (done ? `${stored} stored` : `${over} of ${count} done`)
      + (failed ? `, ${failed} failed` : "") + saved;
    find("pause").hidden = done;
    find("queue-clear").hidden = !done;
  }

  find("pause").addEventListener("click", () => {
    queue.pause(!queue.paused);
    find("pause").textContent = queue.paused ? "Go on" : "Pause";
  });
  find("queue-clear").addEventListener("click", () => forget([...queue.entries]));

  const quality = find("coding-quality");
  quality.addEventListener("input", () => { find("coding-quality-value").value = quality.value; });
  const add = (files) => { for (const file of files) queue.add(file, Number(quality.value)); };
  find("file").addEventListener("change", ({ target }) => {
    if (queue.sum.over === queue.sum.count) forget(queue.entries.filter(({ state }) => state !== "failed"));
    add(target.files);
    target.value = "";
  });
  dropping(add);
  document.addEventListener("paste", (event) => add(event.clipboardData?.files ?? []));
  queue.restore();
}

/** Files that are dropped anywhere but on the viewer, which compares them. */
function dropping(add) {
  const drop = find("drop");
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
    if (!event.target.closest?.("#viewer")) add(event.dataTransfer.files);
  });
}

/** One upload in the list. */
class Row {
  constructor(entry, queue, dismiss) {
    this.entry = entry;
    this.state = element("span", { className: "state" });
    this.bar = element("progress", { max: 1, value: 0 });
    this.bar.setAttribute("aria-label", `Upload of ${entry.name}`);
    this.button = element("button", { type: "button", className: "quiet", textContent: "Cancel" });
    this.button.setAttribute("aria-label", `Cancel ${entry.name}`);
    this.button.addEventListener("click", () => (entry.over ? dismiss() : queue.cancel(entry)));
    const name = element("span", { className: "name", textContent: entry.name });
    this.element = element("li", { className: "transfer" }, name, this.state, this.button, this.bar);
  }

  show() {
    const { state, progress, error, size } = this.entry;
    if (state === "failed") {
      this.element.classList.add("failed");
      this.state.textContent = error.message;
      this.state.setAttribute("role", "alert");
      this.bar.remove();
      this.button.textContent = "Dismiss";
      this.button.setAttribute("aria-label", `Dismiss ${this.entry.name}`);
      return;
    }
    this.bar.value = this.entry.share;
    const share = state === "running" && progress.percent ? `, ${progress.percent} %` : "";
    this.state.textContent = state === "waiting" ? `${bytes(size)}, waiting` : `${STAGES[progress.stage] ?? progress.stage}${share}`;
  }
}
