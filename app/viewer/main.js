// The viewer: a mesh that shows its photos, blended in the fragment shader. `make viewer` bundles this with three.js into bundle.js.
import {
  BackSide, BufferAttribute, BufferGeometry, Color, DataArrayTexture, DoubleSide, FloatType, FrontSide, GLSL3, LinearFilter,
  DepthTexture, LineBasicMaterial, LineSegments, Matrix4, Mesh, MeshBasicMaterial, NearestFilter, PerspectiveCamera, Points, PointsMaterial, Quaternion, RawShaderMaterial,
  RedFormat, SRGBColorSpace, Scene, Vector2, Vector3, WebGLArrayRenderTarget, WebGLRenderer, WebGLRenderTarget,
} from "three";
import { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";

const MOST = 8;
const $ = (id) => document.getElementById(id);

async function bytes(id) {
  const text = $(id).textContent.trim();
  return new Uint8Array(await (await fetch("data:application/octet-stream;base64," + text)).arrayBuffer());
}

async function pixels(jpeg, width, height) {
  const bitmap = await createImageBitmap(new Blob([jpeg]), { colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}

// Rows of a world-to-pixel matrix as clip coordinates whose first row of pixels is the picture's first.
function clipOf(projection, width, height, near, far) {
  const p = new Matrix4().set(...projection, 0, 0, 0, 1);
  const toClip = new Matrix4().set(
    2 / width, 0, -1, 0, 0, 2 / height, -1, 0, 0, 0, (far + near) / (far - near), (-2 * far * near) / (far - near), 0, 0, 1, 0);
  return toClip.multiply(p);
}

async function start() {
  const meta = JSON.parse($("meta").textContent), data = await bytes("data");
  let offset = 0;
  const take = (kind, count) => { const part = new kind(data.buffer, offset, count); offset += Math.ceil(part.byteLength / 4) * 4; return part; };
  const n = meta.vertices, m = meta.photos.length, [width, height] = meta.photo_size;
  const position = take(Float32Array, 3 * n), normal = take(Int8Array, 3 * n), tint = take(Uint8Array, 3 * n), layer = take(Uint8Array, n);
  const faces = take(Uint32Array, 3 * meta.faces), trust = take(Uint8Array, n * m);
  const renderer = new WebGLRenderer({ canvas: $("view"), antialias: false, preserveDrawingBuffer: true, powerPreference: "high-performance" });
  if (!renderer.getContext().getExtension("EXT_color_buffer_float")) throw new Error("This browser's WebGL cannot draw to float textures.");
  renderer.sortObjects = false;

  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(position, 3));
  geometry.setAttribute("normal", new BufferAttribute(normal, 3, true));
  geometry.setAttribute("tint", new BufferAttribute(tint, 3, true));
  geometry.setAttribute("layer", new BufferAttribute(layer, 1));
  for (const name of ["trust0", "trust1"]) geometry.setAttribute(name, new BufferAttribute(new Uint8Array(4 * n), 4, true));
  geometry.setIndex(new BufferAttribute(faces, 1));

  const layers = new Uint8Array(width * height * 4 * m);
  for (let k = 0; k < m; k++) {
    const size = meta.photo_bytes[k];
    layers.set(await pixels(take(Uint8Array, size), width, height), k * width * height * 4);
    $("wait").textContent = `photo ${k + 1} of ${m}`;
  }
  const photos = new DataArrayTexture(layers, width, height, m);
  photos.minFilter = photos.magFilter = LinearFilter;
  photos.needsUpdate = true;
  const depths = new WebGLArrayRenderTarget(width, height, m, { type: FloatType, format: RedFormat, minFilter: NearestFilter, magFilter: NearestFilter });

  // What each photo's camera sees of the mesh: its depth.
  const depthOnly = new RawShaderMaterial({
    glslVersion: GLSL3, side: BackSide, uniforms: { picture: { value: new Matrix4() }, layers: { value: meta.layers } },
    vertexShader: "precision highp float;\n" + $("surface-vertex").textContent,
    fragmentShader: "precision highp float; in vec3 point; uniform mat4 picture; out vec4 color; void main() { color = vec4((picture * vec4(point, 1.0)).w); }",
  });
  const mesh = new Mesh(geometry, depthOnly), scene = new Scene();
  mesh.frustumCulled = false;
  scene.add(mesh);
  const camera = new PerspectiveCamera(45, 1, meta.size * 1e-3, meta.size * 100);
  renderer.setClearColor(0x000000, 1);
  for (let k = 0; k < m; k++) {
    depthOnly.uniforms.picture.value = clipOf(meta.projections[k], width, height, meta.size * 1e-3, meta.size * 100);
    depthOnly.uniformsNeedUpdate = true;
    renderer.setRenderTarget(depths, k);
    renderer.clear();
    renderer.render(scene, camera);
  }
  renderer.setRenderTarget(null);

  const uniforms = {
    picture: { value: new Matrix4() }, layers: { value: meta.layers }, photos: { value: photos }, depths: { value: depths.texture },
    eye: { value: new Vector3() }, centers: { value: [...Array(MOST)].map(() => new Vector3()) }, projections: { value: new Float32Array(12 * MOST) },
    layerOf: { value: new Float32Array(MOST) }, importance: { value: new Float32Array(MOST) }, photoSize: { value: new Vector2(width, height) },
    sharpness: { value: meta.how.sharpness }, least: { value: meta.how.floor }, tolerance: { value: meta.tolerance }, border: { value: meta.border },
    leastCosine: { value: meta.least_cosine }, background: { value: new Vector3() },
  };
  // First pass: what each pixel shows of the mesh. Second pass: its colour.
  const surface = new RawShaderMaterial({
    glslVersion: GLSL3, side: FrontSide, uniforms, vertexShader: "precision highp float;\n" + $("surface-vertex").textContent,
    fragmentShader: "precision highp float;\n" + $("surface-fragment").textContent,
  });
  mesh.material = surface;
  const seen = new WebGLRenderTarget(4, 4, { count: 4, minFilter: NearestFilter, magFilter: NearestFilter, depthTexture: new DepthTexture(4, 4) });
  seen.textures[0].type = FloatType;
  seen.textures.forEach((texture, i) => { uniforms[["places", "shades", "trustsA", "trustsB"][i]] = { value: texture }; });
  const blended = (count) => new RawShaderMaterial({
    glslVersion: GLSL3, uniforms, depthTest: false, depthWrite: false, vertexShader: "precision highp float;\n" + $("screen-vertex").textContent,
    fragmentShader: `precision highp float; precision highp sampler2D; precision highp sampler2DArray;\n#define PHOTOS ${count}\n` + $("blending-fragment").textContent,
  });
  const corners = new BufferGeometry();
  corners.setAttribute("corner", new BufferAttribute(new Float32Array([-1, -1, 3, -1, -1, 3]), 2));
  corners.setDrawRange(0, 3);
  let count = Math.min(meta.how.photos, m, MOST);
  const screen = new Mesh(corners, blended(count)), screens = new Scene();
  screen.frustumCulled = false;
  screens.add(screen);
  function useOf(photos) { count = photos; shown = ""; screen.material.dispose(); screen.material = blended(count); }
  function paint(color) {
    const w = renderer.domElement.width, h = renderer.domElement.height;
    if (seen.width !== w || seen.height !== h) seen.setSize(w, h);
    const shown = color.getRGB({}, SRGBColorSpace);
    uniforms.background.value.set(shown.r, shown.g, shown.b);
    renderer.autoClear = true;
    renderer.setClearColor(0x000000, 0);
    renderer.setRenderTarget(seen);
    renderer.render(scene, camera);
    renderer.setRenderTarget(null);
    renderer.render(screens, camera);
    renderer.autoClear = false;
  }
  const wire = new Mesh(geometry, new MeshBasicMaterial({ color: 0x2277ff, wireframe: true, transparent: true, opacity: 0.35, side: DoubleSide }));
  wire.frustumCulled = false;
  wire.visible = false;
  geometry.setDrawRange(0, Infinity);
  const frames = new Scene();
  frames.add(cameraLines(meta));
  frames.visible = false;

  // Which photos a picture is blended from; `Baked.chosen` says the same.
  const eye = new Vector3(), forward = new Vector3();
  let shown = "";
  function choose() {
    camera.getWorldPosition(eye);
    camera.getWorldDirection(forward);
    const unlike = meta.centers.map((c, k) => {
      const f = meta.forwards[k];
      return Math.hypot(c[0] - eye.x, c[1] - eye.y, c[2] - eye.z) / meta.spread + 1.5 * Math.hypot(f[0] - forward.x, f[1] - forward.y, f[2] - forward.z);
    });
    const order = [...unlike.keys()].sort((a, b) => unlike[a] - unlike[b] || a - b), used = order.slice(0, count);
    const least = unlike[order[0]], last = m > count ? unlike[order[count]] : 2 * unlike[order[count - 1]] + 1e-9;
    used.forEach((k, i) => {
      uniforms.importance.value[i] = Math.sqrt((last - unlike[k]) / Math.max(last - least, 1e-12));
      uniforms.layerOf.value[i] = k;
      uniforms.centers.value[i].set(...meta.centers[k]);
      uniforms.projections.value.set(meta.projections[k], 12 * i);
    });
    for (let i = used.length; i < MOST; i++) uniforms.importance.value[i] = 0;
    const key = used.join();
    if (key !== shown) {
      shown = key;
      [0, 1].forEach((half) => {
        const attribute = geometry.getAttribute("trust" + half), out = attribute.array;
        used.slice(4 * half, 4 * half + 4).forEach((k, i) => { for (let v = 0, from = k * n; v < n; v++) out[4 * v + i] = trust[from + v]; });
        attribute.needsUpdate = true;
      });
    }
    uniforms.eye.value.copy(eye);
  }

  camera.up.set(...meta.up); // first: the controls keep the axis that they find
  const controls = new OrbitControls(camera, renderer.domElement);
  controls.enableDamping = true;
  let pinned = null; // a photo's own lens, until the camera is moved
  function jump(k) {
    const c = new Vector3(...meta.centers[k]), f = new Vector3(...meta.forwards[k]), u = new Vector3(...meta.ups[k]);
    const distance = Math.max(f.dot(new Vector3(...meta.focus).sub(c)), meta.size * 0.05);
    camera.position.copy(c);
    camera.up.copy(u);
    controls.target.copy(c).addScaledVector(f, distance);
    camera.fov = meta.fov[k];
    controls.update();
    pinned = k;
    document.querySelectorAll("#strip button").forEach((b, i) => b.classList.toggle("on", i === k));
    draw();
  }
  controls.addEventListener("start", () => { pinned = null; camera.up.set(...meta.up); });

  function resize() {
    const w = $("view").clientWidth, h = $("view").clientHeight;
    renderer.setPixelRatio(1);
    renderer.setSize(w, h, false);
    camera.aspect = w / h;
    draw();
  }
  const background = new Color();
  function draw() {
    background.set(getComputedStyle(document.body).getPropertyValue("--back").trim());
    camera.near = meta.size * 1e-3;
    camera.far = meta.size * 100;
    camera.updateProjectionMatrix();
    camera.updateMatrixWorld();
    if (pinned !== null) lensOf(camera, meta, pinned, width, height);
    choose();
    uniforms.picture.value.multiplyMatrices(camera.projectionMatrix, camera.matrixWorldInverse);
    paint(background);
    if (wire.visible) { renderer.clearDepth(); frames.add(wire); }
    if (frames.visible || wire.visible) renderer.render(frames, camera);
    if (pins.geometry.getAttribute("position")?.count) renderer.render(pinScene, camera);
  }

  // Inside another page: it is told where we stand, and may say where to go.
  let toldAt = 0;
  function tell(now) {
    if (window.parent === window || now - toldAt < 150) return;
    toldAt = now;
    camera.updateMatrixWorld();
    const e = camera.matrixWorld.elements, o = meta.origin;
    // OpenCV axes: y down, z forward; in the input's coordinates.
    const pose = [0, 1, 2].map((r) => [e[r], -e[4 + r], -e[8 + r], e[12 + r] + o[r]]);
    const fov = pinned !== null ? meta.fov[pinned] : camera.fov;
    window.parent.postMessage({ lumigraph: "camera", camera_to_world: [...pose, [0, 0, 0, 1]], fov, aspect: camera.aspect }, "*");
  }
  function stand(view) {
    const p = view.camera_to_world, o = meta.origin, at = new Vector3(p[0][3] - o[0], p[1][3] - o[1], p[2][3] - o[2]);
    const forward = new Vector3(p[0][2], p[1][2], p[2][2]), up = new Vector3(-p[0][1], -p[1][1], -p[2][1]);
    const reach = Math.max(camera.position.distanceTo(controls.target), 1e-6);
    pinned = null;
    camera.up.copy(up);
    camera.fov = view.fov;
    camera.position.copy(at);
    controls.target.copy(at).addScaledVector(forward, reach);
    camera.lookAt(controls.target);
    camera.updateProjectionMatrix();
  }
  let flight = null;
  function fly(now) {
    const t = Math.min((now - flight.start) / flight.length, 1) * (flight.views.length - 1), i = Math.min(Math.floor(t), flight.views.length - 2), s = t - i;
    const [a, b] = [flight.views[i], flight.views[i + 1]].map((v) => {
      const p = v.camera_to_world, m = new Matrix4().set(...p[0].slice(0, 3), 0, ...p[1].slice(0, 3), 0, ...p[2].slice(0, 3), 0, 0, 0, 0, 1);
      return { turn: new Quaternion().setFromRotationMatrix(m), at: new Vector3(p[0][3], p[1][3], p[2][3]), fov: v.fov };
    });
    const m = new Matrix4().makeRotationFromQuaternion(a.turn.slerp(b.turn, s)).elements, at = a.at.lerp(b.at, s);
    stand({ camera_to_world: [[m[0], m[4], m[8], at.x], [m[1], m[5], m[9], at.y], [m[2], m[6], m[10], at.z], [0, 0, 0, 1]], fov: a.fov + (b.fov - a.fov) * s });
    if (now - flight.start >= flight.length) flight = null;
  }
  // A click that does not turn the scene tells it which place of the scene was meant; and it may mark places.
  const pins = new Points(new BufferGeometry(), new PointsMaterial({ size: 12, sizeAttenuation: false, vertexColors: true, depthTest: false }));
  const pinScene = new Scene();
  pins.frustumCulled = false;
  pinScene.add(pins);
  function mark(points) {
    const o = meta.origin;
    pins.geometry.dispose();
    pins.geometry = new BufferGeometry();
    pins.geometry.setAttribute("position", new BufferAttribute(new Float32Array(points.flatMap((p) => p.point.map((v, d) => v - o[d]))), 3));
    pins.geometry.setAttribute("color", new BufferAttribute(new Float32Array(points.flatMap((p) => (p.inside ? [0.02, 0.5, 0.06] : [0.75, 0.02, 0.02]))), 3));
    draw();
  }
  function place(clientX, clientY) {
    const box = renderer.domElement.getBoundingClientRect(), out = new Float32Array(4);
    const x = Math.floor(((clientX - box.left) / box.width) * seen.width), y = seen.height - 1 - Math.floor(((clientY - box.top) / box.height) * seen.height);
    renderer.readRenderTargetPixels(seen, x, y, 1, 1, out);
    return out[3] > 0 ? [0, 1, 2].map((d) => out[d] + meta.origin[d]) : null;
  }
  let pressed = null;
  // Before the controls hear of it, who would let go of a photo's lens: the place is that of the picture that was clicked on.
  addEventListener("pointerdown", (e) => {
    const meant = e.target === renderer.domElement && e.isPrimary && e.button === 0 && window.parent !== window;
    pressed = meant ? { x: e.clientX, y: e.clientY, point: place(e.clientX, e.clientY) } : null;
  }, true);
  addEventListener("pointerup", (e) => {
    if (!pressed?.point || Math.hypot(e.clientX - pressed.x, e.clientY - pressed.y) > 4) return;
    window.parent.postMessage({ lumigraph: "picked", point: pressed.point }, "*");
  }, true);
  addEventListener("message", (event) => {
    if (event.source !== window.parent || window.parent === window || !event.data) return;
    if (event.data.lumigraph === "look") { stand(event.data.view); draw(); toldAt = 0; tell(performance.now()); }
    if (event.data.lumigraph === "marks") mark(event.data.points);
    if (event.data.lumigraph === "play" && event.data.views.length > 1) flight = { start: performance.now(), length: 1500 * (event.data.views.length - 1), views: event.data.views };
  });

  // A slow machine blends fewer photos.
  let before = 0, slow = 0;
  function loop(now) {
    if (flight) fly(now);
    if (controls.update() || turning || flight) {
      const gap = now - before;
      slow = gap > 50 && gap < 1000 ? slow + 1 : Math.max(slow - 1, 0);
      if (slow > 12 && count > 3) { useOf(count - 1); slow = 0; }
      if (turning) turn(now);
      draw();
    }
    before = now;
    tell(now);
    requestAnimationFrame(loop);
  }

  // A turntable, filmed if the browser can.
  let turning = null;
  function turn(now) {
    const t = Math.min((now - turning.start) / turning.length, 1);
    const arm = turning.arm.clone().applyAxisAngle(new Vector3(...meta.up), 2 * Math.PI * t);
    camera.position.copy(controls.target).add(arm);
    camera.lookAt(controls.target);
    if (t >= 1) { turning.done(); turning = null; }
  }
  function turntable(length = 8000) {
    return new Promise((resolve) => {
      pinned = null;
      camera.up.set(...meta.up);
      turning = { start: performance.now(), length, arm: camera.position.clone().sub(controls.target), done: resolve };
    });
  }
  async function film() {
    if (turning) return;
    const kind = ["video/mp4", "video/webm"].find((k) => window.MediaRecorder?.isTypeSupported(k));
    if (!kind) { await turntable(); return; }
    const recorder = new MediaRecorder(renderer.domElement.captureStream(30), { mimeType: kind, videoBitsPerSecond: 8e6 }), parts = [];
    recorder.ondataavailable = (e) => parts.push(e.data);
    recorder.start();
    $("film").classList.add("on");
    await turntable();
    recorder.onstop = () => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob(parts, { type: kind }));
      link.download = "turntable." + kind.split("/")[1];
      link.click();
      $("film").classList.remove("on");
    };
    recorder.stop();
  }

  const toggle = (id, change) => { $(id).onclick = () => { $(id).classList.toggle("on", change()); draw(); }; };
  toggle("wire", () => (wire.visible = !wire.visible));
  toggle("cameras", () => (frames.visible = !frames.visible));
  $("film").onclick = film;
  $("home").onclick = () => home();
  meta.photos.forEach((name, k) => {
    const button = document.createElement("button"), image = document.createElement("canvas");
    image.width = 96; image.height = Math.round((96 * height) / width);
    const context = image.getContext("2d"), full = new OffscreenCanvas(width, height);
    full.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(layers.slice(k * width * height * 4, (k + 1) * width * height * 4)), width, height), 0, 0);
    context.drawImage(full, 0, 0, image.width, image.height);
    button.title = `Stand where ${name} was taken`;
    button.append(image);
    button.onclick = () => jump(k);
    $("strip").append(button);
  });
  addEventListener("keydown", (e) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
    if (step) { e.preventDefault(); jump(((pinned ?? 0) + step + m) % m); }
    if (e.key === "w") $("wire").click();
    if (e.key === "h") home();
  });
  function home() { jump(meta.home); pinned = null; camera.up.set(...meta.up); draw(); }
  addEventListener("resize", resize);
  resize();
  home();
  requestAnimationFrame(loop);
  $("wait").remove();
  if (window.parent !== window) window.parent.postMessage({ lumigraph: "ready" }, "*");

  // For programs that drive the page: a picture of a photo's camera, and how long one takes.
  window.lumigraph = {
    meta, renderer, jump, home, draw, turntable, wire: () => $("wire").click(),
    photos: () => count,
    eye: () => camera.position.toArray(),
    setPhotos: useOf,
    async picture(w, h, projection, center, direction) {
      renderer.setSize(w, h, false);
      const clip = clipOf(projection, w, h, meta.size * 1e-3, meta.size * 100);
      camera.position.set(...center); camera.lookAt(center[0] + direction[0], center[1] + direction[1], center[2] + direction[2]); camera.updateMatrixWorld();
      choose();
      uniforms.picture.value.copy(clip);
      surface.side = BackSide; // rows of a picture run downwards
      paint(new Color(1, 1, 1));
      const gl = renderer.getContext(), out = new Uint8Array(w * h * 4);
      gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, out);
      surface.side = FrontSide;
      let text = "";
      for (let i = 0; i < out.length; i += 8192) text += String.fromCharCode(...out.subarray(i, i + 8192));
      return btoa(text);
    },
    measure(w, h, rounds) {
      renderer.setSize(w, h, false);
      camera.aspect = w / h;
      const gl = renderer.getContext(), pixel = new Uint8Array(4), arm = camera.position.clone().sub(controls.target), axis = new Vector3(...meta.up);
      const once = (i) => {
        camera.position.copy(controls.target).add(arm.clone().applyAxisAngle(axis, 0.02 * i));
        camera.lookAt(controls.target);
        draw();
        gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
      };
      once(0);
      const begun = performance.now();
      for (let i = 0; i < rounds; i++) once(i);
      return (performance.now() - begun) / rounds / 1000;
    },
  };
}

// A photo's own principal point and focal lengths, fitted into the canvas.
function lensOf(camera, meta, k, width, height) {
  const { fx, fy, cx, cy } = meta.lenses[k], near = camera.near, far = camera.far;
  const scale = camera.aspect > width / height ? 2 / height : 2 / (width * (1 / camera.aspect));
  const x = scale / camera.aspect, y = scale;
  camera.projectionMatrix.set(
    fx * x, 0, -(cx - width / 2) * x, 0, 0, fy * y, (cy - height / 2) * y, 0, 0, 0, -(far + near) / (far - near), (-2 * far * near) / (far - near), 0, 0, -1, 0);
  camera.projectionMatrixInverse.copy(camera.projectionMatrix).invert();
}

function cameraLines(meta) {
  const points = [], length = 0.04 * meta.size;
  meta.centers.forEach((c, k) => {
    const f = new Vector3(...meta.forwards[k]), u = new Vector3(...meta.ups[k]), r = new Vector3().crossVectors(f, u), o = new Vector3(...c);
    const t = Math.tan((meta.fov[k] * Math.PI) / 360) * length, s = t * (meta.photo_size[0] / meta.photo_size[1]);
    const corners = [[-s, t], [s, t], [s, -t], [-s, -t]].map(([a, b]) => o.clone().addScaledVector(f, length).addScaledVector(r, a).addScaledVector(u, b));
    corners.forEach((corner, i) => points.push(o, corner, corner, corners[(i + 1) % 4]));
  });
  return new LineSegments(new BufferGeometry().setFromPoints(points), new LineBasicMaterial({ color: 0xee3333 }));
}

start().catch((error) => { $("wait").textContent = `The scene cannot be shown: ${error.message}`; $("wait").classList.add("wrong"); });
