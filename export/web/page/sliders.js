// The sliders, and what they change of what was found: `changed` holds weights of the units, deviations of the first modes,
// and the share of the expression as the network read it, where a user moved them.

import { TEXTS } from "./texts.js";

const MODES = 10, DEVIATIONS = 3;  // sliders of the person, and how far they go

const $ = (query) => document.querySelector(query);

// Makes the sliders. `shown` is a function that gives { units, expression } as shown, `show` shows what has changed; the
// answer is a function that sets the sliders to what is shown.
export function addSliders({ units }, changed, shown, show) {
  const sliders = [];
  const add = (list, name, [low, high], get, set) => sliders.push(addSlider($(list), name, [low, high], get, (value) => {
    set(value);
    show();
  }));
  const refresh = () => sliders.forEach((one) => one());
  add("#units", TEXTS.ofPhoto, [0, 1], () => shown().expression, (value) => { changed.expression = value; });
  units.forEach((name, k) => add("#units", name, [0, 1], () => shown().units[k], (value) => { changed.units[k] = value; }));
  for (let k = 0; k < MODES; k++) {
    const [get, set] = [() => changed.modes[k] ?? 0, (value) => { changed.modes[k] = value; }];
    add("#modes", TEXTS.mode(k + 1), [-DEVIATIONS, DEVIATIONS], get, set);
  }
  const onClick = (button, change) => $(button).addEventListener("click", () => {
    change();
    show();
    refresh();
  });
  onClick("#neutral", () => Object.assign(changed, { units: units.map(() => 0), expression: 0 }));
  onClick("#again", () => Object.assign(changed, { units: [], expression: null }));
  onClick("#read", () => Object.assign(changed, { units: units.map(() => 0), expression: 1 }));
  onClick("#own", () => Object.assign(changed, { modes: [] }));
  return refresh;
}

// One slider in a list; the returned function shows the value.
function addSlider(list, name, [low, high], get, set) {
  const label = document.createElement("label"), input = document.createElement("input");
  const text = document.createElement("span"), output = document.createElement("output");
  label.className = "slider";
  Object.assign(input, { type: "range", min: low, max: high, step: 0.01 });
  text.textContent = name;
  output.setAttribute("aria-hidden", true);  // the slider tells it; an output would be read aloud at every change
  const refresh = () => {
    input.value = get();
    output.textContent = get().toFixed(2);
  };
  input.addEventListener("input", () => {
    set(Number(input.value));
    refresh();
  });
  label.append(text, input, output);
  list.append(label);
  refresh();
  return refresh;
}
