// The page: what the buttons do, and what is shown.

import { openCamera, pixelsOf } from "./camera.js";
import {
  addModes, aggregate, albedoOf, anglesOf, linearLight, neutralShape, rotationMatrix, shade, times, turn, vertexNormals,
} from "./face.js";
import { writeGlb } from "./glb.js";
import { follower } from "./live.js";
import { openRuntime } from "./runtime.js";
import { apply } from "./similarity.js";
import { addSliders } from "./sliders.js";
import { openStage } from "./stage.js";
import { LANGUAGE, TEXTS } from "./texts.js";

const PHOTO_SIDE = 2560;  // px at most; a face needs 224
const THUMBNAIL = 168;  // px
const AROUND = 2.4;  // sides of the face's box that are shown of a photo
const TOLD = 500;  // ms from one telling of the camera's numbers to the next
const PHOTO_EXPRESSION = "photoExpression";

const $ = (query) => document.querySelector(query);
const picture = $("#picture"), status = $("#status");

// What is known: photos [{ name, photo, face }] of one person, the shown one, what the camera sees (`live.js`), and what the
// sliders change (`sliders.js`).
export const state = { photos: [], current: -1, live: null, changed: { units: [], modes: [], expression: null } };
export let runtime, stage;
let refreshSliders, body = null;

function say(text) {
  status.textContent = text;
}

function translate() {
  document.documentElement.lang = LANGUAGE;
  document.title = TEXTS.title;
  $("meta[name=description]").content = TEXTS.intro;
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = TEXTS[node.dataset.text];
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", TEXTS[node.dataset.label]);
}

// Looks at pictures that a user gave, one after the other, and adds those with a face.
export async function addPhotos(files) {
  await stopCamera();
  let message = "";
  for (const { name, blob } of files) {
    say(TEXTS.working(name));
    const begin = performance.now();
    const photo = await readPhoto(blob).catch(() => null);
    const face = photo && (await runtime.find(photo));
    if (face) {
      state.photos.push({ name, photo, face, time: performance.now() - begin });
      state.current = state.photos.length - 1;
    } else {
      message = photo ? TEXTS.nobody(name) : TEXTS.unreadable(name);
    }
  }
  say([message, state.photos.length ? TEXTS.found(state.photos.length) : TEXTS.ready].join(" ").trim());
  listPhotos();
  show();
}

async function readPhoto(blob) {  // colours as they are stored, upright
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", imageOrientation: "from-image" });
  return pixelsOf(bitmap, bitmap.width, bitmap.height, PHOTO_SIDE, document.createElement("canvas"));
}

// The person of the photos, or of the camera's pictures so far.
export function identity() {
  if (state.live) return aggregate([state.live.identity], [null]);
  return aggregate(state.photos.map(({ face }) => face.coefficients.identity), state.photos.map(({ face }) => face.confidence));
}

function changedIdentity() {
  return identity().map((value, k) => value + (state.changed.modes[k] ?? 0));
}

const current = () => state.live ?? state.photos[state.current];

// Weights of the units, and the share of the expression as the network read it: what is found, where no slider was moved.
// The landmarks tell more of an expression than the network, but not every model knows where they lie.
export function shownExpression() {
  const { changed } = state, found = current()?.face.weights;
  const units = runtime.model.units.map((_, k) => changed.units[k] ?? found?.[k] ?? 0);
  return { units, expression: changed.expression ?? (found ? 0 : 1) };
}

// The neutral shape and the albedo of the person; made anew only where they differ from those of the last call.
function bodyOf({ coefficients: { albedo } }) {
  const { model } = runtime, key = [state.live?.identity ?? [...identity()].join(), albedo, state.changed.modes.join()];
  if (!body || key.some((part, k) => part !== body.key[k]))
    body = { key, shape: neutralShape(model, changedIdentity()), albedo: albedoOf(model, albedo) };
  return body;
}

// Shows the current photo's face, as the sliders change it; and tells its numbers.
export function show(telling = true) {
  const shown = current();
  $("#tools").hidden = !shown;
  if (!shown) {
    stage.show(null);
    return;
  }
  const { model } = runtime, { coefficients, rotation, translation } = shown.face;
  const { units, expression } = shownExpression(), { shape: neutral, albedo } = bodyOf(shown.face);
  const shape = addModes(Float32Array.from(neutral), model.blendshapes, units);
  addModes(shape, model.expression, coefficients.expression.map((value) => value * expression));
  const normals = vertexNormals(shape, model.triangles);
  const colors = shade(albedo, turn(normals, rotation), coefficients.illumination);
  stage.show({ shape, normals, albedo, colors, rotation, translation, ...showPicture(shown), live: Boolean(state.live) });
  if (telling) {
    tell(shown);
    refreshSliders();
  }
}

// Draws the photo around the face, or the whole picture of the camera; the size of what is drawn, and the transform from
// it to the aligned picture.
function showPicture({ photo, face: { found, transform, size } }) {
  const side = state.live ? Infinity : AROUND * Math.max(found.box[2] - found.box[0], found.box[3] - found.box[1]);
  const extent = size.map((length) => Math.min(Math.round(side), length));
  const start = extent.map((length, k) => {
    const first = Math.round((found.box[k] + found.box[k + 2] - length) / 2);
    return Math.min(Math.max(first, 0), size[k] - length);
  });
  if (picture.width !== extent[0] || picture.height !== extent[1]) [picture.width, picture.height] = extent;
  picture.getContext("2d", { alpha: false }).putImageData(photo, -start[0], -start[1]);
  const [x, y] = apply(transform, start);
  return { size: extent, transform: { ...transform, x, y } };
}

function tell({ face, time }) {
  const upright = times(rotationMatrix([0, 0, face.transform.rotation]), face.rotation);  // as the photo was taken
  const [pitch, yaw, roll] = anglesOf(upright).map((angle) => TEXTS.degrees((angle * 180) / Math.PI));
  const lines = [[TEXTS.pitch, pitch], [TEXTS.yaw, yaw], [TEXTS.roll, roll]];
  lines.push([TEXTS.vertices, runtime.model.vertices], [TEXTS.time, TEXTS.milliseconds(time)]);
  if (state.live) lines.push([TEXTS.rate, state.live.rate.toFixed(1)]);
  $("#numbers").replaceChildren(...lines.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}

function element(kind, text = "", attributes = {}) {
  const made = document.createElement(kind);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function listPhotos() {
  const sums = state.photos.map(({ face }) => (face.confidence ?? [1]).reduce((sum, value) => sum + value, 0));
  const total = sums.reduce((sum, value) => sum + value, 0);
  const items = state.photos.map(({ name, photo, face }, index) => {
    const share = sums[index] / total, item = element("li");
    const label = TEXTS.photoWeight(name, share);
    const button = element("button", "", { "aria-label": label, "aria-pressed": index === state.current });
    button.append(thumbnail(photo, face.found.box));
    button.addEventListener("click", () => choose(index));
    const remove = element("button", "×", { class: "remove", "aria-label": `${TEXTS.remove} ${name}` });
    remove.addEventListener("click", () => {
      state.photos.splice(index, 1);
      choose(Math.min(state.current, state.photos.length - 1));
      say(state.photos.length ? TEXTS.found(state.photos.length) : TEXTS.ready);
    });
    item.append(button, remove);
    if (state.photos.length > 1) item.append(element("p", `${Math.round(100 * share)} %`, { "aria-hidden": true }));
    return item;
  });
  $("#photos").replaceChildren(...items);
}

async function choose(index) {
  await stopCamera();
  state.current = index;
  listPhotos();
  show();
}

function thumbnail(photo, [x0, y0, x1, y1]) {
  const side = Math.min(1.4 * Math.max(x1 - x0, y1 - y0), photo.width, photo.height);
  const whole = document.createElement("canvas"), small = document.createElement("canvas");
  [whole.width, whole.height, small.width, small.height] = [photo.width, photo.height, THUMBNAIL, THUMBNAIL];
  whole.getContext("2d").putImageData(photo, 0, 0);
  const [left, top] = [(x0 + x1 - side) / 2, (y0 + y1 - side) / 2];
  small.getContext("2d").drawImage(whole, left, top, side, side, 0, 0, THUMBNAIL, THUMBNAIL);
  return small;
}

async function startCamera() {
  const follow = follower(runtime);
  let told = 0;
  const look = async (photo) => {
    const live = await follow(photo), due = performance.now() - told > TOLD;
    if (!state.live !== !live) say(live ? TEXTS.live : TEXTS.searching);
    state.live = live;
    if (!live) return;
    if (due) told = performance.now();
    show(due);
  };
  try {
    state.camera = await openCamera(document.createElement("canvas"), look);
  } catch (error) {
    say(TEXTS.noCamera(error.message));
    return;
  }
  say(TEXTS.searching);
  tellCamera();
  state.camera.done.catch((error) => say(TEXTS.failed(error.message)));
}

async function stopCamera() {
  const { camera } = state;
  if (!camera) return;
  state.camera = null;
  camera.stop();
  await camera.done.catch(() => {});
  state.live = null;
  tellCamera();
}

function tellCamera() {
  $("#camera").textContent = state.camera ? TEXTS.stopCamera : TEXTS.camera;
  $("#camera").setAttribute("aria-pressed", Boolean(state.camera));
}

// The current face as a file: neutral, with the units and the photo's expression as morph targets, as Python writes it.
export function glb() {
  const { model } = runtime, { coefficients, weights } = current().face, { units, expression } = shownExpression();
  const vertices = neutralShape(model, changedIdentity());
  const none = () => new Float32Array(vertices.length);
  const targets = model.units.map((name, k) => ({
    name, weight: units[k], displacements: addModes(none(), model.blendshapes, { [k]: 1 }),
  }));
  const displacements = addModes(none(), model.expression, coefficients.expression);
  targets.push({ name: PHOTO_EXPRESSION, weight: expression, displacements });
  const arkit = weights && Object.fromEntries(model.units.map((name, k) => [name, weights[k]]));
  return writeGlb({
    name: "face", licence: model.licence, vertices, normals: vertexNormals(vertices, model.triangles),
    colors: linearLight(albedoOf(model, coefficients.albedo)), triangles: model.triangles, targets, arkit,
  });
}

function save() {
  const link = element("a", "", { download: "face.glb" });
  link.href = URL.createObjectURL(new Blob([glb()], { type: "model/gltf-binary" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function wire() {
  const press = (button, on) => $(button).setAttribute("aria-pressed", on);
  const view = (over) => {
    stage.set({ over });
    press("#over", over);
    press("#turned", !over);
  };
  $("#files").addEventListener("change", async (event) => {
    const files = [...event.target.files].map((file) => ({ name: file.name, blob: file }));
    event.target.value = "";
    await addPhotos(files);
  });
  $("#sample").addEventListener("click", async () => {
    const blob = await (await fetch("data/sample.jpg")).blob();
    await addPhotos([{ name: TEXTS.sample, blob }]);
  });
  $("#camera").addEventListener("click", async () => {
    if (!state.camera) return startCamera();
    await stopCamera();
    say(state.photos.length ? TEXTS.found(state.photos.length) : TEXTS.ready);
    return show();
  });
  $("#over").addEventListener("click", () => view(true));
  $("#turned").addEventListener("click", () => view(false));
  $("#front").addEventListener("click", () => { view(false); stage.front(); });
  $("#clay").addEventListener("click", (event) => {
    const clay = event.target.getAttribute("aria-pressed") !== "true";
    stage.set({ clay });
    press("#clay", clay);
  });
  const opacity = () => {
    stage.set({ opacity: Number($("#opacity").value) });
    $("#opacity + output").textContent = Number($("#opacity").value).toFixed(2);
  };
  $("#opacity").addEventListener("input", opacity);
  opacity();
  $("#save").addEventListener("click", save);
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    addPhotos([...event.dataTransfer.files].map((file) => ({ name: file.name, blob: file })));
  });
}

async function start() {
  translate();
  say(TEXTS.loading(0));
  runtime = await openRuntime((share) => say(TEXTS.loading(share)));
  stage = await openStage($("#stage"), $("#face"), picture, runtime.model);
  refreshSliders = addSliders(runtime.model, state.changed, shownExpression, () => show());
  wire();
  stage.show(null);
  $("#sample").hidden = !runtime.model.sample;
  say(TEXTS.ready);
  document.documentElement.dataset.ready = "";
  await navigator.serviceWorker?.register("service_worker.js");
}

start().catch((error) => {
  say(TEXTS.failed(error.message));
  document.documentElement.dataset.failed = "";
});
