// Sentences to begin with: a click writes one into the box, as if it had been typed.
element.addEventListener("click", (event) => {
  const chip = event.target.closest("button[data-words]");
  const box = document.querySelector("#prompt textarea, #prompt input");
  if (!chip || !box) return;
  box.value = chip.dataset.words;
  box.dispatchEvent(new Event("input", { bubbles: true }));
  box.focus();
});
