// A message goes when it is closed, or by itself after a while if it is no error.
element.addEventListener("click", (event) => { if (event.target.closest("button")) element.querySelector("[role=alert]")?.remove(); });
watch("value", () => { const said = element.querySelector(".said"); if (said) setTimeout(() => said.remove(), 5000); });
