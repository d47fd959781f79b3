// What the page's parts share: where the viewer stands, and links to files that are downloaded rather than opened.
window.lumigraph = { camera: null };
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
