// The bar: what runs, how far, how long; asks the server once a second, and tells the page when something has changed.
const field = (id) => document.querySelector(`#${id} textarea, #${id} input`)?.value || "";
const project = () => field("project");
const make = (tag, values = {}, ...inner) => { const e = Object.assign(document.createElement(tag), values); e.append(...inner); return e; };
const clock = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;
const STAGES = {
  start: "Starting", read: "Reading photos", intake: "Looking at what came", examine: "Looking at the photos", poses: "Finding the cameras", points: "Points on the surfaces",
  prepare: "Preparing photos", stereo: "Comparing photos", train: "Learning the scene", look: "Looking at the photos", tune: "Tuning", evaluate: "Scoring",
  depth: "Measuring depth", mesh: "Building the mesh", texture: "Painting the texture", realtime: "Choosing photos to show", refine: "Refining the mesh",
  previews: "Taking pictures", turntable: "Filming the turntable", export: "Writing files", view: "Drawing", render: "Drawing frames", masks: "Cutting out",
  inspect: "Looking for tampering", attack: "Attacking", edit: "Editing", photos: "Writing the photos", scenes: "Reading the scene", pack: "Packing", machine: "Measuring this machine",
};
let asking = 0, lost = 0, shown = "", said = "";
const list = make("div"), voice = make("p", { className: "sr" });
voice.setAttribute("role", "status");
element.replaceChildren(list, voice);

function row(job) {
  const percent = Math.round(100 * (job.share || 0));
  const box = make("div", { className: `job ${job.status}` });
  box.dataset.job = job.id;
  const head = make("div", { className: "head" }, make("strong", { textContent: job.title }));
  const words = make("span", { className: "words" });
  head.append(words);
  box.append(head);
  if (job.status === "running" || job.status === "queued") {
    const button = make("button", { type: "button", textContent: "Cancel", className: "cancel" });
    button.setAttribute("aria-label", `Cancel: ${job.title}`);
    button.onclick = () => { button.disabled = true; button.textContent = "Cancelling"; trigger("click", { act: "cancel", job: job.id }); };
    head.append(button);
  }
  if (job.status === "running") {
    const bar = make("progress", { max: 100, value: percent });
    bar.setAttribute("aria-label", job.title);
    box.append(bar);
    if (job.preview) box.append(make("img", { src: job.preview, alt: "What has been found so far", className: "preview" }));
  }
  if (job.can_resume) {
    const button = make("button", { type: "button", textContent: job.status === "failed" ? "Try again" : "Resume", className: "resume" });
    button.setAttribute("aria-label", `${button.textContent}: ${job.title}`);
    button.onclick = () => { button.disabled = true; trigger("click", { act: "resume", job: job.id }); };
    head.append(button);
  }
  return box;
}

function words(job) {
  if (job.status === "queued") return job.ahead ? `waiting, ${job.ahead} before it` : "next in line";
  if (job.status === "failed") return job.message;
  if (job.status === "cancelled") return job.message;
  if (job.status === "done") return `done in ${job.seconds < 90 ? Math.round(job.seconds) + " s" : clock(job.seconds)}`;
  const left = job.left != null ? `, about ${clock(job.left)} left` : "";
  return `${STAGES[job.stage] || job.stage}${job.words ? ": " + job.words : ""} (${Math.round(100 * job.share)} %, ${clock(job.elapsed)}${left})`;
}

function show(state) {
  const active = state.jobs.filter((j) => j.status === "running" || j.status === "queued");
  const ended = state.jobs.filter((j) => !active.includes(j)).slice(-1).filter((j) => j.status !== "done" || !active.length);
  const jobs = [...ended, ...active];
  const others = state.queue.filter((q) => !q.mine && !q.small).length;
  const shape = JSON.stringify([jobs.map((j) => [j.id, j.status, j.can_resume, !!j.preview]), others]);
  if (shape !== shown) { // only then, so that a button under the pointer stays the button
    shown = shape;
    list.replaceChildren(...jobs.map(row), ...(others ? [make("p", { textContent: `${others} of other people's jobs run or wait on this machine.` })] : []));
  }
  for (const job of jobs) {
    const box = list.querySelector(`[data-job="${job.id}"]`);
    box.querySelector(".words").textContent = words(job);
    const bar = box.querySelector("progress"), preview = box.querySelector(".preview");
    if (bar) bar.value = Math.round(100 * (job.share || 0));
    if (preview && job.preview && preview.getAttribute("src") !== job.preview) preview.src = job.preview;
  }
  const news = jobs.map((j) => `${j.title}: ${j.status === "running" ? STAGES[j.stage] || "" : j.status} ${j.status === "failed" ? j.message : ""}`).join(". ");
  if (news !== said) { said = news; voice.textContent = news; }
  return active.length > 0;
}

async function look() {
  let busy = false;
  const asked = project();
  try {
    const answer = await fetch(`/status?project=${encodeURIComponent(asked)}`, { cache: "no-store" });
    if (answer.status === 401) { location.href = "/login"; return; }
    if (answer.ok && asked === project()) {
      const state = await answer.json();
      busy = show(state);
      if (state.version !== field("version") && Date.now() - asking > 2500) { asking = Date.now(); trigger("change", {}); }
      if (state.version === field("version")) asking = 0;
    }
    lost = 0;
  } catch {
    lost += 1;
    if (lost === 3) { list.replaceChildren(make("p", { className: "lost", textContent: "The studio does not answer. Nothing is lost: it goes on when the studio is back." })); shown = ""; }
  }
  const pause = document.hidden ? 4000 : busy || lost ? 700 : 1500;
  if (element.isConnected) setTimeout(look, pause);
}
look();
