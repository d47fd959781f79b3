// What the page's parts share: where the viewer stands, what was painted on a photo, and links to files that are downloaded rather than opened.
window.lumigraph = { camera: null, mask: null };
addEventListener("message", (event) => {
  const frame = document.querySelector("#viewer iframe");
  if (!frame || event.source !== frame.contentWindow || !event.data || event.data.lumigraph !== "camera") return;
  const { camera_to_world, fov, aspect } = event.data;
  window.lumigraph.camera = { camera_to_world, fov, aspect };
});
window.lumigraph.tell = (message) => {
  const frame = document.querySelector("#viewer iframe");
  if (frame) frame.contentWindow.postMessage(message, "*");
};
// On a narrow screen the list of projects would cover the page: it begins closed.
if (innerWidth < 768) {
  const close = setInterval(() => {
    const toggle = document.querySelector("#side .toggle-button, .sidebar .toggle-button");
    if (!toggle) return;
    clearInterval(close);
    if (document.querySelector("#side.open, .sidebar.open")) toggle.click();
  }, 50);
}
