// Cameras and points in 3D, with a box that says what is meshed: a canvas, so that it works on every machine.
const AXES = ["x", "y", "z"];
let scene = null, box = null, yaw = 0.6, pitch = 0.5, zoom = 1, drag = null, center, reach, e1, e2, up;
const X = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const N = (a) => { const n = Math.hypot(...a) || 1; return a.map((v) => v / n); };
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

function draw() {
  const canvas = element.querySelector("canvas");
  if (!canvas || !scene) return;
  const ratio = devicePixelRatio, w = (canvas.width = canvas.clientWidth * ratio), h = (canvas.height = canvas.clientHeight * ratio);
  const g = canvas.getContext("2d"), s = ((Math.min(w, h) * 0.42) / reach) * zoom;
  const ca = Math.cos(yaw), sa = Math.sin(yaw), cp = Math.cos(pitch), sp = Math.sin(pitch);
  const at = (p) => {
    const q = [p[0] - center[0], p[1] - center[1], p[2] - center[2]], x = dot(q, e1), y = dot(q, e2), z = dot(q, up);
    return [w / 2 + (x * ca - y * sa) * s, h / 2 - (z * cp - (x * sa + y * ca) * sp) * s];
  };
  const inside = (p) => !box || AXES.every((_, k) => p[k] >= box[k] && p[k] <= box[k + 3]);
  g.clearRect(0, 0, w, h);
  scene.points.forEach((p, i) => {
    const q = at(p), c = scene.colors[i];
    g.globalAlpha = inside(p) ? 1 : 0.25;
    g.fillStyle = `rgb(${c[0]},${c[1]},${c[2]})`;
    g.fillRect(q[0], q[1], 2 * ratio, 2 * ratio);
  });
  g.globalAlpha = 1;
  g.lineWidth = ratio;
  g.strokeStyle = "#e33";
  for (const camera of scene.cameras) {
    const m = camera.camera_to_world, size = reach * 0.08, tx = Math.tan((camera.fov[0] * Math.PI) / 360) * size, ty = Math.tan((camera.fov[1] * Math.PI) / 360) * size;
    const world = (v) => [0, 1, 2].map((k) => m[k][0] * v[0] + m[k][1] * v[1] + m[k][2] * v[2] + m[k][3]);
    const o = at(world([0, 0, 0])), corners = [[-tx, -ty, size], [tx, -ty, size], [tx, ty, size], [-tx, ty, size]].map((v) => at(world(v)));
    g.beginPath();
    corners.forEach((c, i) => { g.moveTo(...o); g.lineTo(...c); g.lineTo(...corners[(i + 1) % 4]); });
    g.stroke();
  }
  if (box) {
    g.strokeStyle = "#27f";
    g.lineWidth = 1.5 * ratio;
    g.beginPath();
    for (let i = 0; i < 8; i++) for (let k = 0; k < 3; k++) if (!(i & (1 << k))) {
      const corner = (n) => at(AXES.map((_, d) => box[n & (1 << d) ? d + 3 : d]));
      g.moveTo(...corner(i)); g.lineTo(...corner(i | (1 << k)));
    }
    g.stroke();
  }
}

function sliders() {
  const place = element.querySelector(".sliders"), ends = [0, 1, 2].map((k) => {
    const v = scene.points.length ? scene.points.map((p) => p[k]).sort((a, b) => a - b) : scene.cameras.map((c) => c.camera_to_world[k][3]).sort((a, b) => a - b);
    const low = Math.min(v[Math.floor(v.length * 0.01)], scene.suggested[k]), high = Math.max(v[Math.floor(v.length * 0.99)], scene.suggested[k + 3]), m = 0.1 * (high - low) || 1;
    return [low - m, high + m];
  });
  const fields = AXES.flatMap((axis, k) => [0, 3].map((side) => {
    const input = Object.assign(document.createElement("input"), { type: "range", min: ends[k][0], max: ends[k][1], step: (ends[k][1] - ends[k][0]) / 200 });
    input.value = (box || scene.suggested)[k + side];
    input.oninput = () => {
      box = box || [...scene.suggested];
      box[k + side] = Number(input.value);
      if (box[k] >= box[k + 3]) box[k + side] = side ? box[k] + Number(input.step) : box[k + 3] - Number(input.step);
      draw();
    };
    const label = document.createElement("label");
    label.append(`${axis} ${side ? "to" : "from"} `, input);
    return label;
  }));
  const button = (words, act) => Object.assign(document.createElement("button"), { type: "button", textContent: words, onclick: act });
  place.replaceChildren(...fields,
    button("Mesh only what is in the box", () => { box = box || [...scene.suggested]; draw(); trigger("click", { box }); }),
    button("No box", () => { box = null; draw(); trigger("click", { box: null }); }));
}

function begin() {
  const canvas = element.querySelector("canvas"), data = element.querySelector("template");
  if (!canvas || !data) { scene = null; return; }
  scene = JSON.parse(data.content.textContent);
  box = scene.box ? [...scene.box] : null;
  up = N(scene.up);
  const f = Math.abs(up[0]) < 0.9 ? [1, 0, 0] : [0, 1, 0];
  e1 = N(X(up, f)); e2 = X(up, e1);
  const all = [...scene.cameras.map((c) => c.camera_to_world.map((r) => r[3])), ...scene.points];
  const median = (k) => { const v = all.map((p) => p[k]).sort((a, b) => a - b); return v[v.length >> 1]; };
  center = [0, 1, 2].map(median);
  const d = all.map((p) => Math.hypot(p[0] - center[0], p[1] - center[1], p[2] - center[2])).sort((a, b) => a - b);
  reach = d[Math.floor(d.length * 0.9)] || 1;
  canvas.onpointerdown = (e) => { drag = [e.clientX, e.clientY]; canvas.setPointerCapture(e.pointerId); };
  canvas.onpointerup = () => (drag = null);
  canvas.onpointermove = (e) => {
    if (!drag) return;
    yaw += (e.clientX - drag[0]) * 0.01; pitch = Math.max(-1.5, Math.min(1.5, pitch + (e.clientY - drag[1]) * 0.01)); drag = [e.clientX, e.clientY]; draw();
  };
  canvas.onwheel = (e) => { e.preventDefault(); zoom *= Math.exp(-e.deltaY * 0.001); draw(); };
  canvas.onkeydown = (e) => {
    const turn = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[e.key];
    if (turn) { yaw += turn[0]; pitch = Math.max(-1.5, Math.min(1.5, pitch + turn[1])); }
    if (e.key === "+" || e.key === "-") zoom *= e.key === "+" ? 1.15 : 1 / 1.15;
    if (turn || e.key === "+" || e.key === "-") { e.preventDefault(); draw(); }
  };
  sliders();
  new ResizeObserver(draw).observe(canvas); // the step may be hidden still
}
watch("value", begin);
begin();
