// Cards of photos: their buttons leave photos out and take them back.
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-name]");
  if (!button) return;
  button.disabled = true;
  trigger("click", { name: button.dataset.name, out: button.dataset.out === "1" });
});
