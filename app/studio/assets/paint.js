// A mask painted over a photo: what is painted is kept where the page's other parts find it, as a black and white picture.
let tool = "paint", last = null;
const parts = () => [element.querySelector(".paint"), element.querySelector("canvas"), element.querySelector("img")];

function keep() {
  const [place, canvas] = parts();
  const flat = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height }), g = flat.getContext("2d");
  g.drawImage(canvas, 0, 0);
  g.globalCompositeOperation = "source-in";
  g.fillStyle = "#fff"; g.fillRect(0, 0, flat.width, flat.height);
  g.globalCompositeOperation = "destination-over";
  g.fillStyle = "#000"; g.fillRect(0, 0, flat.width, flat.height);
  window.lumigraph.mask = { photo: place.dataset.photo, png: flat.toDataURL("image/png") };
}

function stroke(event) {
  const [, canvas] = parts(), box = canvas.getBoundingClientRect(), scale = canvas.width / box.width, g = canvas.getContext("2d");
  const at = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  g.globalCompositeOperation = tool === "erase" ? "destination-out" : "source-over";
  g.strokeStyle = "#ff2d95"; g.lineCap = "round"; g.lineWidth = Number(element.querySelector("input").value) * scale;
  g.beginPath(); g.moveTo(...(last || at)); g.lineTo(at[0] + 0.01, at[1]); g.stroke();
  last = at;
}

function begin() {
  const [place, canvas, image] = parts();
  window.lumigraph.mask = null;
  if (!place) return;
  tool = "paint";
  const fit = () => { const s = Math.min(1, 800 / Math.max(image.naturalWidth, image.naturalHeight)); canvas.width = Math.round(image.naturalWidth * s); canvas.height = Math.round(image.naturalHeight * s); };
  if (image.complete && image.naturalWidth) fit(); else image.onload = fit;
  canvas.onpointerdown = (e) => { canvas.setPointerCapture(e.pointerId); last = null; stroke(e); canvas.onpointermove = stroke; };
  canvas.onpointerup = canvas.onpointercancel = () => { if (canvas.onpointermove) { canvas.onpointermove = null; last = null; keep(); } };
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]"), canvas = element.querySelector("canvas");
  if (!button || !canvas) return;
  const g = canvas.getContext("2d"), act = button.dataset.act;
  if (act === "paint" || act === "erase") {
    tool = act;
    for (const b of element.querySelectorAll("[aria-pressed]")) b.setAttribute("aria-pressed", String(b === button));
    return;
  }
  g.globalCompositeOperation = "source-over";
  g.clearRect(0, 0, canvas.width, canvas.height);
  if (act === "all") { g.fillStyle = "#ff2d95"; g.fillRect(0, 0, canvas.width, canvas.height); keep(); } else window.lumigraph.mask = null;
});
watch("value", begin);
begin();
