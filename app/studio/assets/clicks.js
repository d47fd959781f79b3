// Clicks on photos, and on places of the scene in 3D: what belongs to the thing and what does not, kept for all photos until they are forgotten.
let inside = true;
const L = window.lumigraph;
L.clicks ??= [];

const frame = () => document.querySelector("#understood-3d iframe");
const project = () => element.querySelector(".clicks")?.dataset.project;
const points = () => L.clicks.filter((c) => c.point && c.project === project());

function draw() {
  frame()?.contentWindow.postMessage({ lumigraph: "marks", points: points() }, "*");
  const place = element.querySelector(".clicks"), image = element.querySelector("img");
  if (!place || !image || !image.naturalWidth) return;
  for (const dot of place.querySelectorAll(".dot")) dot.remove();
  const mine = L.clicks.filter((c) => c.photo === place.dataset.photo && c.project === place.dataset.project);
  for (const c of mine) {
    const dot = Object.assign(document.createElement("span"), { className: c.inside ? "dot in" : "dot out" });
    dot.style.left = `${(100 * c.x) / image.naturalWidth}%`;
    dot.style.top = `${(100 * c.y) / image.naturalHeight}%`;
    place.append(dot);
  }
  const all = L.clicks.filter((c) => c.project === place.dataset.project);
  const count = element.querySelector("output");
  if (count) count.textContent = all.length ? `${all.length} click${all.length > 1 ? "s" : ""}` : "Click on the thing";
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]"), place = element.querySelector(".clicks"), image = element.querySelector("img");
  if (button) {
    if (button.dataset.act === "forget") L.clicks = L.clicks.filter((c) => c.project !== place?.dataset.project);
    else {
      inside = button.dataset.act === "inside";
      for (const b of element.querySelectorAll("[aria-pressed]")) b.setAttribute("aria-pressed", String(b === button));
    }
    return draw();
  }
  if (event.target !== image) return;
  const box = image.getBoundingClientRect();
  const x = Math.floor(((event.clientX - box.left) / box.width) * image.naturalWidth), y = Math.floor(((event.clientY - box.top) / box.height) * image.naturalHeight);
  L.clicks.push({ project: place.dataset.project, photo: place.dataset.photo, x, y, inside });
  draw();
});

function begin() {
  const image = element.querySelector("img");
  inside = true;
  if (!image) return;
  if (image.complete && image.naturalWidth) draw(); else image.onload = draw;
}
addEventListener("message", (event) => {
  if (event.source !== frame()?.contentWindow || !project() || !event.data) return;
  if (event.data.lumigraph === "ready") draw();
  if (event.data.lumigraph !== "picked" || !event.data.point.every(Number.isFinite)) return;
  L.clicks.push({ project: project(), point: event.data.point, inside });
  draw();
});
watch("value", begin);
begin();
