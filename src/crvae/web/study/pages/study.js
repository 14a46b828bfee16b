"use strict";
// Keys 1 to 4 choose, left and right move between the images. Nothing is chosen before all images are there, nor twice.
const form = document.getElementById("question");
const images = [...form.querySelectorAll("img")];
const alternatives = [...form.querySelectorAll("button")];
let sent = false;

form.addEventListener("submit", (event) => {
  if (sent || !images.every((image) => image.complete)) return event.preventDefault();
  sent = true;
  if (event.submitter) event.submitter.classList.add("chosen");
});

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  const chosen = alternatives[Number(event.key) - 1];
  if (chosen) {
    event.preventDefault();
    return chosen.click();
  }
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step) {
    const here = alternatives.indexOf(document.activeElement);
    const next = here < 0 ? (step > 0 ? 0 : alternatives.length - 1) : here + step;
    if (alternatives[next]) alternatives[next].focus();
  }
});

// Coming back with the browser's back button shows a page that was answered: load the current question instead.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
