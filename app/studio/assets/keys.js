// Key views: go to one, or see the way through all of them in the viewer.
element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const views = JSON.parse(element.querySelector("template").content.textContent);
  if (button.dataset.key) window.lumigraph.tell({ lumigraph: "look", view: views[Number(button.dataset.key)] });
  if (button.dataset.play) window.lumigraph.tell({ lumigraph: "play", views });
});
