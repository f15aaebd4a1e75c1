// Questions to people.

/** What a dialog was closed with, which asks `text`, if any; Escape counts as "no". */
export function answerOf(dialog, text = null) {
  if (text) dialog.querySelector("p").textContent = text;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
  });
}
