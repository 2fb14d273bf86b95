// The page: what the buttons do, and what is shown.

import { openCamera, pixelsOf } from "./camera.js";
import {
  addModes, aggregate, albedoOf, linearLight, neutralShape, rotationMatrix, shade, turn, vertexNormals,
} from "./face.js";
import { writeGlb } from "./glb.js";
import { openRuntime } from "./runtime.js";
import { apply } from "./similarity.js";
import { openStage } from "./stage.js";
import { LANGUAGE, TEXTS } from "./texts.js";

const PHOTO_SIDE = 2560;  // px at most; a face needs 224
const MODES = 10, DEVIATIONS = 3;  // sliders of the person, and how far they go
const MEMORY = 60;  // pictures of the camera that the person is averaged over
const THUMBNAIL = 168;  // px
const AROUND = 2.4;  // sides of the face's box that are shown of a photo
const PHOTO_EXPRESSION = "photoExpression";

const $ = (query) => document.querySelector(query);
const picture = $("#picture"), status = $("#status");

// What is known: photos [{ name, photo, face }] of one person, the shown one, and how the sliders differ from what was
// found: weights of the units, deviations of the first modes, share of the photo's expression.
export const state = { photos: [], current: -1, live: null, units: [], modes: [], expression: 1 };
export let runtime, stage;

function say(text) {
  status.textContent = text;
}

function translate() {
  document.documentElement.lang = LANGUAGE;
  document.title = TEXTS.title;
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
  return identity().map((value, k) => value + (state.modes[k] ?? 0));
}

function unitDisplacements(model, weights) {
  return addModes(new Float32Array(model.meanShape.length), model.blendshapes, weights);
}

// Shows the current photo's face, as the sliders change it.
export function show() {
  const shown = state.live ?? state.photos[state.current];
  $("#tools").hidden = !shown;
  if (!shown) {
    stage.show(null);
    return;
  }
  const { model } = runtime, { coefficients } = shown.face;
  const shape = neutralShape(model, changedIdentity());
  addModes(shape, model.expression, coefficients.expression.map((value) => value * state.expression));
  addModes(shape, model.blendshapes, state.units);
  const normals = vertexNormals(shape, model.triangles), albedo = albedoOf(model, coefficients.albedo);
  const colors = shade(albedo, turn(normals, rotationMatrix(coefficients.angles)), coefficients.illumination);
  const { angles, translation } = coefficients;
  const seen = showPicture(shown);
  stage.show({ shape, normals, albedo, colors, angles, translation, ...seen, mirrored: Boolean(state.live) });
  tell(shown);
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
  [picture.width, picture.height] = extent;
  picture.getContext("2d").putImageData(photo, -start[0], -start[1]);
  const [x, y] = apply(transform, start);
  return { size: extent, transform: { ...transform, x, y } };
}

function tell({ face, time }) {
  const [pitch, yaw, roll] = [...face.coefficients.angles].map((angle) => TEXTS.degrees((angle * 180) / Math.PI));
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
  let last = null, count = 0, seconds = [];
  let sums = null, weights = null;
  const look = async (photo) => {
    const begin = performance.now();
    const face = last ? await runtime.follow(photo, last) : await runtime.find(photo);
    last = face?.found ?? null;
    if (!face) {
      if (count) say(TEXTS.searching);
      count = 0;
      return;
    }
    if (!count++) say(TEXTS.live);
    const found = face.coefficients.identity, confidence = face.confidence ?? found.map(() => 1);
    const keep = 1 - 1 / MEMORY;  // a running mean, weighed by the confidences
    sums = found.map((value, k) => (sums ? keep * sums[k] : 0) + confidence[k] * value);
    weights = found.map((_, k) => (weights ? keep * weights[k] : 0) + confidence[k]);
    seconds = [...seconds, begin].filter((time) => begin - time <= 1000);
    const person = sums.map((sum, k) => sum / weights[k]);
    state.live = { photo, face, identity: person, time: performance.now() - begin, rate: seconds.length };
    show();
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
  const { model } = runtime, { coefficients } = (state.live ?? state.photos[state.current]).face;
  const vertices = neutralShape(model, changedIdentity());
  const none = () => new Float32Array(vertices.length);
  const targets = model.units.map((name, k) => ({
    name, weight: state.units[k] ?? 0, displacements: unitDisplacements(model, { [k]: 1 }),
  }));
  const displacements = addModes(none(), model.expression, coefficients.expression);
  targets.push({ name: PHOTO_EXPRESSION, weight: state.expression, displacements });
  return writeGlb({
    name: "face", licence: model.licence, vertices, normals: vertexNormals(vertices, model.triangles),
    colors: linearLight(albedoOf(model, coefficients.albedo)), triangles: model.triangles, targets,
  });
}

function save() {
  const link = element("a", "", { download: "face.glb" });
  link.href = URL.createObjectURL(new Blob([glb()], { type: "model/gltf-binary" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// A slider of `state`'s `values[index]` in a list; the returned function shows the value.
function addSlider(list, name, [low, high], get, set) {
  const label = element("label", "", { class: "slider" }), output = element("output");
  const input = element("input", "", { type: "range", min: low, max: high, step: 0.01 });
  const refresh = () => {
    input.value = get();
    output.textContent = Number(get()).toFixed(2);
  };
  input.addEventListener("input", () => {
    set(Number(input.value));
    refresh();
    show();
  });
  label.append(element("span", name), input, output);
  list.append(label);
  refresh();
  return refresh;
}

function addSliders({ units }) {
  const at = (values, k) => [() => values[k] ?? 0, (value) => { values[k] = value; }];
  const expression = [() => state.expression, (value) => { state.expression = value; }];
  const sliders = [addSlider($("#units"), TEXTS.ofPhoto, [0, 1], ...expression)];
  units.forEach((name, k) => sliders.push(addSlider($("#units"), name, [0, 1], ...at(state.units, k))));
  for (let k = 0; k < MODES; k++)
    sliders.push(addSlider($("#modes"), TEXTS.mode(k + 1), [-DEVIATIONS, DEVIATIONS], ...at(state.modes, k)));
  const reset = (button, values, expressed) => $(button).addEventListener("click", () => {
    values.length = 0;
    if (expressed !== undefined) state.expression = expressed;
    sliders.forEach((refresh) => refresh());
    show();
  });
  reset("#neutral", state.units, 0);
  reset("#again", state.units, 1);
  reset("#own", state.modes);
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
  addSliders(runtime.model);
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
