// Two pictures on each other, parted by a slider.
element.addEventListener("input", (event) => {
  const slider = event.target.closest(".compare input");
  if (slider) slider.closest(".compare").style.setProperty("--at", slider.value + "%");
});
