// A model with a code: its latents are moved, drawn, interpolated and mapped.

const state = { z: null, label: 0, seed: 0, grid: 0, temperature: 1, guidance: about.guidance, a: null, b: null };
let own = null; // the visitor's image
let shown = null; // the decoded one
let areClasses = false; // of pixels, that the model gives
const isTokens = about.latent === "tokens";
const inRank = about.ranked; // latents, those that carry most first
const hasPad = !about.restores && !isTokens && inRank.length > 1;
const labelsOf = (n) => filled(n, state.label);
const low = (latent) => about.centre[latent] - 3 * about.spread[latent];
const high = (latent) => about.centre[latent] + 3 * about.spread[latent];
const clamped = (latent, value) => Math.min(high(latent), Math.max(low(latent), value));

async function decode(codes, n) {
  const outputs = await run("decoder", n, { z: codes, tokens: codes, label: labelsOf(n) });
  areClasses = !outputs.image;
  return areClasses ? asColours(outputs.probabilities.data, n) : outputs.image.data;
}

async function encode(image) {
  const outputs = await run("encoder", 1, { image, label: labelsOf(1) });
  return (outputs.z_mean ?? outputs.z ?? outputs.tokens).data.slice();
}

// Decodes what is in the state.
const show = paced(async () => {
  shown = await decode(state.z, 1);
  paint(find("image"), shown);
  find("error").parentElement.hidden = !own || areClasses;
  if (own && !areClasses) {
    paint(find("error"), errorMap(shown, own));
    find("error-caption").textContent = `error, MSE ${meanSquare(shown, own).toFixed(4)}`;
  }
  if (!isTokens) { showSliders(); paintPlanes(); }
  keepLink(explorerLink);
});

// The state, short enough for a link.
function explorerLink() {
  const rounded = (codes) => codes && Array.from(codes, (value) => Math.round(1000 * value) / 1000);
  const chosen = Object.fromEntries(menus.map((id) => [id, Number(find(id).value)]));
  return { ...state, ...chosen, view, z: rounded(state.z), a: rounded(state.a), b: rounded(state.b) };
}

// Takes what the link says, if it fits this model.
function takeExplorerLink(link) {
  const isValue = isTokens ? (value) => Number.isInteger(value) && value >= 0 && value < about.codes : Number.isFinite;
  const isCode = (codes) => Array.isArray(codes) && codes.length === latents && codes.every(isValue);
  if (!isCode(link.z)) return false;
  for (const name of ["z", "a", "b"]) {
    const codes = isCode(link[name]) ? link[name] : link.z;
    state[name] = isTokens ? Int32Array.from(codes) : Float32Array.from(codes);
  }
  for (const name of ["seed", "grid", "temperature", "guidance"]) if (Number.isFinite(link[name])) state[name] = link[name];
  const isClass = Number.isInteger(link.label) && link.label >= 0 && link.label < about.class_names.length;
  if (isClass) state.label = link.label;
  return true;
}

// What the link says of the pad and the map, which are there by now.
function takeView(link) {
  for (const id of menus) {
    if ([...find(id).options].some((option) => option.value === String(link[id]))) find(id).value = link[id];
  }
  if (!about.map) return;
  fitMap();
  const { x, y, scale } = link.view ?? {};
  if ([x, y, scale].every(Number.isFinite) && scale > 0) Object.assign(view, { x, y, scale });
}

// One sample, of the seed.
const sample = paced(async () => {
  const { seed } = state;
  find("progress").hidden = !["steps", "tokens"].includes(about.prior);
  try {
    state.z = (await drawCodes(1, state, labelsOf(1), (share) => (find("progress").value = share))).slice();
  } finally {
    find("progress").hidden = true;
  }
  forgetOwn();
  await show();
  say(`Sample of seed ${seed}`);
});

const drawGrid = paced(async () => {
  const n = 16;
  const codes = await drawCodes(n, { ...state, seed: state.grid }, labelsOf(n), (share) => say(`Drawing samples: ${Math.round(100 * share)}%`));
  paintGrid(find("grid"), await decode(codes, n), 4);
  keepLink(explorerLink);
  say("16 samples are drawn");
});

// Sliders

const sliders = new Map();

function makeSliders() {
  for (const latent of inRank.slice(0, 10)) {
    const row = document.createElement("label");
    row.className = "slider";
    const name = Object.assign(document.createElement("span"), { textContent: `z${latent}` });
    const input = Object.assign(document.createElement("input"), {
      type: "range", min: low(latent), max: high(latent), step: (high(latent) - low(latent)) / 300,
    });
    input.setAttribute("aria-label", `latent ${latent}`);
    const value = document.createElement("span");
    input.oninput = () => { state.z[latent] = Number(input.value); show(); };
    row.append(name, input, value);
    find("sliders").append(row);
    sliders.set(latent, { input, value });
  }
  find("reset").onclick = () => { state.z = Float32Array.from(about.centre); forgetOwn(); show(); };
}

function showSliders() {
  for (const [latent, { input, value }] of sliders) {
    input.value = state.z[latent];
    value.textContent = state.z[latent].toFixed(2);
  }
}

// The pad

const pad = find("pad");
const padLatents = () => [Number(find("across").value), Number(find("up").value)];
const menus = ["across", "up", "axes"]; // of the pad and the map, in the link

function makePad() {
  for (const [id, chosen] of [["across", inRank[0]], ["up", inRank[1]]]) {
    for (const latent of inRank.slice(0, 10)) {
      find(id).append(new Option(`z${latent}`, latent, latent === chosen, latent === chosen));
    }
    find(id).onchange = () => { paintPad(); keepLink(explorerLink); };
  }
  const move = (event) => {
    const box = pad.getBoundingClientRect();
    const [across, up] = padLatents();
    const right = (event.clientX - box.left) / box.width;
    const above = 1 - (event.clientY - box.top) / box.height;
    state.z[up] = clamped(up, low(up) + above * (high(up) - low(up)));
    state.z[across] = clamped(across, low(across) + right * (high(across) - low(across)));
    show();
  };
  pad.onpointerdown = (event) => { pad.setPointerCapture(event.pointerId); move(event); };
  pad.onpointermove = (event) => event.buttons && move(event);
  pad.onkeydown = (event) => {
    const step = ARROWS[event.key];
    if (!step) return;
    event.preventDefault();
    padLatents().forEach((latent, axis) => {
      state.z[latent] = clamped(latent, state.z[latent] + (step[axis] * (high(latent) - low(latent))) / 30);
    });
    show();
    say(padLatents().map((latent) => `z${latent} ${state.z[latent].toFixed(2)}`).join(", "));
  };
}

function paintPlanes() {
  if (!state.z) return; // not begun
  if (hasPad) paintPad();
  if (about.map) paintMap();
}

function paintPad() {
  const context = pad.getContext("2d");
  const [across, up] = padLatents();
  const x = ((state.z[across] - low(across)) / (high(across) - low(across))) * pad.width;
  const y = (1 - (state.z[up] - low(up)) / (high(up) - low(up))) * pad.height;
  const colour = getComputedStyle(document.body);
  context.clearRect(0, 0, pad.width, pad.height);
  context.strokeStyle = colour.getPropertyValue("--line");
  for (const deviations of [1, 2, 3]) {
    context.beginPath();
    context.arc(pad.width / 2, pad.height / 2, (deviations * pad.width) / 6, 0, 7);
    context.stroke();
  }
  context.fillStyle = colour.getPropertyValue("--accent");
  context.beginPath();
  context.arc(x, y, 8, 0, 7);
  context.fill();
}

// From A to B

async function paintStrip() {
  if (isTokens || !state.a || !state.b) return;
  const n = 8;
  const codes = new Float32Array(n * latents);
  for (let row = 0; row < n; row++) codes.set(between(row / (n - 1)), row * latents);
  paintGrid(find("strip"), await decode(codes, n), n);
}

const between = (share) => state.a.map((value, latent) => value * (1 - share) + state.b[latent] * share);

function makeBetween() {
  const set = (name) => () => { state[name] = state.z.slice(); paintStrip(); keepLink(explorerLink); say(`This image is ${name.toUpperCase()}`); };
  find("set-a").onclick = set("a");
  find("set-b").onclick = set("b");
  find("between").oninput = () => { state.z = between(Number(find("between").value)); forgetOwn(); show(); };
}

// The map

const map = find("map");
const view = { x: 0, y: 0, scale: 1 };
const axes = () => about.map.axes[Number(find("axes").value)];
const hues = (label) => `hsl(${(label * 360) / Math.max(1, about.map.class_names.length)} 65% 50%)`;

function makeMap() {
  about.map.axes.forEach((axis, number) => find("axes").append(new Option(axis.name, number)));
  find("axes").onchange = () => { fitMap(); seeMap(); };
  const place = (event) => {
    const box = map.getBoundingClientRect();
    return fromMap(((event.clientX - box.left) / box.width) * map.width, ((event.clientY - box.top) / box.height) * map.height);
  };
  let pressed = null;
  map.onpointerdown = (event) => { pressed = { at: place(event), x: event.clientX, y: event.clientY, moved: false }; map.setPointerCapture(event.pointerId); };
  map.onpointermove = (event) => {
    if (!pressed) return;
    pressed.moved ||= Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y) > 5;
    if (!pressed.moved) return;
    const at = place(event);
    view.x += pressed.at[0] - at[0];
    view.y += pressed.at[1] - at[1];
    seeMap();
  };
  map.onpointercancel = () => { pressed = null; };
  map.onpointerup = (event) => { if (pressed && !pressed.moved) decodeAt(place(event)); pressed = null; };
  map.onwheel = (event) => { event.preventDefault(); zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, place(event)); };
  map.onkeydown = (event) => {
    const step = ARROWS[event.key];
    if (event.key === "+" || event.key === "-") zoom(event.key === "+" ? 1.2 : 1 / 1.2, [view.x, view.y]);
    else if (step) { view.x += (step[0] * 20) / view.scale; view.y += (step[1] * 20) / view.scale; seeMap(); }
    else if (event.key === "Enter") decodeAt([view.x, view.y]);
    else return;
    event.preventDefault();
  };
  find("zoom-in").onclick = () => zoom(1.5, [view.x, view.y]);
  find("zoom-out").onclick = () => zoom(1 / 1.5, [view.x, view.y]);
  find("zoom-all").onclick = () => { fitMap(); seeMap(); };
  map.onfocus = map.onblur = paintPlanes;
  about.map.class_names.forEach((name, label) => {
    const entry = document.createElement("li");
    const dot = document.createElement("i");
    dot.style.background = hues(label);
    entry.append(dot, name); // as text
    find("legend").append(entry);
  });
}

function fitMap() {
  const points = axes().points;
  const sides = [0, 1].map((axis) => points.map((point) => point[axis]));
  const [left, right, bottom, top] = sides.flatMap((values) => [Math.min(...values), Math.max(...values)]);
  view.x = (left + right) / 2;
  view.y = (bottom + top) / 2;
  view.scale = (0.92 * map.width) / Math.max(right - left, top - bottom, 1e-6);
}

const toMap = ([x, y]) => [map.width / 2 + (x - view.x) * view.scale, map.height / 2 - (y - view.y) * view.scale];
const fromMap = (x, y) => [view.x + (x - map.width / 2) / view.scale, view.y - (y - map.height / 2) / view.scale];

function zoom(factor, [x, y]) {
  view.scale *= factor;
  view.x = x + (view.x - x) / factor;
  view.y = y + (view.y - y) / factor;
  seeMap();
}

// The map from where one looks now.
function seeMap() {
  paintMap();
  keepLink(explorerLink);
  say(`The middle of the map is ${view.x.toFixed(2)}, ${view.y.toFixed(2)}`);
}

// The code whose place on the map is there. What the map does not show is the mean's.
function decodeAt([x, y]) {
  const { origin, across, up } = axes();
  state.z = Float32Array.from(origin, (value, latent) => value + x * across[latent] + y * up[latent]);
  forgetOwn();
  show();
  say("This place of the map is decoded");
}

function paintMap() {
  const context = map.getContext("2d");
  context.clearRect(0, 0, map.width, map.height);
  axes().points.forEach((point, number) => {
    context.fillStyle = hues(about.map.labels[number]);
    context.globalAlpha = 0.75;
    context.beginPath();
    context.arc(...toMap(point), 4, 0, 7);
    context.fill();
  });
  context.globalAlpha = 1;
  const { origin, across, up } = axes();
  const at = [across, up].map((axis) => axis.reduce((sum, value, latent) => sum + value * (state.z[latent] - origin[latent]), 0));
  const [x, y] = toMap(at);
  context.strokeStyle = getComputedStyle(document.body).getPropertyValue("--ink");
  context.lineWidth = 2;
  context.beginPath();
  context.arc(x, y, 8, 0, 7);
  context.moveTo(x - 13, y); context.lineTo(x + 13, y);
  context.moveTo(x, y - 13); context.lineTo(x, y + 13);
  context.stroke();
  context.lineWidth = 1;
  if (map.matches(":focus-visible")) context.strokeRect(map.width / 2 - 5, map.height / 2 - 5, 10, 10); // of the keys
}

// The visitor's image

async function takeImage(values, number) {
  own = values;
  takeLabel(number);
  for (const figure of document.querySelectorAll(".own")) figure.hidden = false;
  paint(find("original"), own);
  state.z = await encode(own);
  await show();
}

// Of an image of the data, where the model knows its class.
function takeLabel(number) {
  const label = about.class_names.indexOf(about.images.class_names[about.images.labels[number]]);
  if (label >= 0) find("label").value = state.label = label;
}

function forgetOwn() {
  own = null;
  for (const figure of document.querySelectorAll(".own")) figure.hidden = true;
}

// Where no link says what to show: a sample, or an image of the data, and two ends of an interpolation.
async function begin() {
  if (about.samples && ["normal", "once"].includes(about.prior)) {
    const codes = await drawCodes(3, state, labelsOf(3));
    [state.z, state.a, state.b] = [0, 1, 2].map((row) => codes.slice(row * latents, (row + 1) * latents));
  } else {
    takeLabel(0);
    for (const [number, name] of ["z", "a", "b"].entries()) {
      state[name] = await encode(storedImage(Math.min(number, about.images.count - 1)));
    }
  }
}

async function startExplorer() {
  for (const id of ["image", "original", "error"]) sized(find(id));
  const link = readLink();
  const linked = takeExplorerLink(link);
  if (!isTokens) { makeSliders(); makeBetween(); }
  if (hasPad) makePad();
  if (about.map) makeMap();
  takeView(link);
  matchMedia("(prefers-color-scheme: dark)").onchange = paintPlanes;
  find("sample").onclick = () => { find("seed").value = state.seed += 1; sample(); };
  find("seed").oninput = () => { state.seed = Number(find("seed").value) | 0; sample(); };
  for (const name of ["temperature", "guidance"]) {
    find(name).value = state[name];
    find(name).oninput = () => { state[name] = Number(find(name).value); sample(); };
  }
  find("seed").value = state.seed;
  find("draw-grid").onclick = () => { state.grid += 1; drawGrid(); };
  find("label").value = state.label;
  find("label").onchange = async () => {
    state.label = Number(find("label").value);
    if (about.prior_classes && !own) return sample();
    if (own && about.encoder_takes_label) state.z = await encode(own);
    await show();
    await paintStrip();
  };
  if (!linked) await begin();
  await show();
  await paintStrip();
}
