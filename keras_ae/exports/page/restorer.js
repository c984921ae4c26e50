// A model that restores images: noise or holes go in, and the wipe shows both sides.

const inputs = about.restores ? about.graphs.restorer.inputs.map((input) => input.name) : [];
const takesMask = inputs.includes("mask");
const restoration = { clean: null, noisy: null, mask: new Float32Array(pixels).fill(1), restored: null };
const linked = ["gallery", "label", "noise", "wipe"]; // in the link, beside the holes

const restore = paced(async () => {
  degrade();
  const outputs = await run("restorer", 1, { image: restoration.noisy, mask: restoration.mask, label: filled(1, Number(find("label").value)) });
  restoration.restored = outputs.restored?.data ?? asColours(outputs.probabilities.data);
  paint(find("before"), restoration.noisy);
  if (takesMask) paintHoles();
  wipe();
  keepLink(restorerLink);
  if (!outputs.restored) return say("The class of each pixel");
  const [before, after] = [restoration.noisy, restoration.restored].map((one) => -10 * Math.log10(Math.max(1e-10, meanSquare(one, restoration.clean))));
  say(`PSNR ${before.toFixed(1)} dB before, ${after.toFixed(1)} dB after`);
});

// What a link keeps: of the holes the pixels at which they begin and end. An own image stays with its visitor.
function restorerLink() {
  const { mask } = restoration;
  const edges = [...mask.keys()].filter((place) => mask[place] !== (mask[place - 1] ?? 1));
  const values = Object.fromEntries(linked.map((id) => [id, Number(find(id).value)]));
  return { ...values, edges };
}

function takeRestorerLink(link) {
  for (const id of linked) if (Number.isFinite(link[id])) find(id).value = link[id];
  if (find("gallery").value) restoration.clean = storedImage(Number(find("gallery").value));
  if (!Array.isArray(link.edges)) return false;
  const edges = new Set(link.edges);
  let known = 1;
  restoration.mask = restoration.mask.map((_, place) => (known = edges.has(place) ? 1 - known : known));
  return true;
}

// The noise is the same for the same image, so that the slider changes its strength alone.
function degrade() {
  const { normal } = randomOf(1);
  const sigma = about.denoises ? Number(find("noise").value) : 0;
  restoration.noisy = restoration.clean.map((value, place) => {
    if (!restoration.mask[Math.floor(place / channels)]) return 0;
    return sigma ? Math.min(1, Math.max(0, value + sigma * normal())) : value;
  });
}

// Classes of pixels as evenly spaced greys.
function asColours(probabilities) {
  const classes = probabilities.length / pixels;
  const values = new Float32Array(pixels * channels);
  for (let place = 0; place < pixels; place++) {
    const own = probabilities.subarray(place * classes, (place + 1) * classes);
    values.fill(own.indexOf(Math.max(...own)) / (classes - 1), place * channels, (place + 1) * channels);
  }
  return values;
}

function paintHoles() {
  const context = find("before").getContext("2d");
  context.fillStyle = "#e05252";
  restoration.mask.forEach((known, place) => known || context.fillRect(place % width, Math.floor(place / width), 1, 1));
}

function wipe() {
  const after = find("after");
  after.getContext("2d").clearRect(0, 0, width, height);
  paint(after, restoration.restored);
  after.getContext("2d").clearRect(0, 0, Math.round(width * Number(find("wipe").value)), height);
}

function makeBrush() {
  const before = find("before");
  const cursor = [Math.floor(width / 2), Math.floor(height / 2)];
  const paintAt = (x, y) => {
    const size = Number(find("brush").value);
    const left = Math.round(x - size / 2), top = Math.round(y - size / 2);
    for (let row = Math.max(0, top); row < Math.min(height, top + size); row++) {
      restoration.mask.fill(0, row * width + Math.max(0, left), row * width + Math.min(width, left + size));
    }
    if (!restoration.mask.some((known) => known)) restoration.mask[0] = 1; // something must be known
    restore();
  };
  const move = (event) => {
    const box = before.getBoundingClientRect();
    paintAt(((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height);
  };
  before.onpointerdown = (event) => { before.setPointerCapture(event.pointerId); move(event); };
  before.onpointermove = (event) => event.buttons && move(event);
  before.onkeydown = (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (step) { cursor[0] += step[0]; cursor[1] += step[1]; }
    else if (event.key !== " ") return;
    event.preventDefault();
    paintAt(...cursor);
  };
  find("clear").onclick = () => { restoration.mask.fill(1); restore(); };
  find("hole").onclick = () => {
    const side = Math.max(1, Math.floor(Math.min(width, height) / 4));
    const left = Math.floor((width - side) / 2), top = Math.floor((height - side) / 2);
    for (let row = top; row < top + side; row++) restoration.mask.fill(0, row * width + left, row * width + left + side);
    restore();
  };
}

async function takeDamaged(values) {
  restoration.clean = values;
  await restore();
}

async function startRestorer() {
  for (const id of ["before", "after"]) sized(find(id));
  if (takesMask) makeBrush();
  find("noise").oninput = restore;
  find("wipe").oninput = () => { wipe(); keepLink(restorerLink); };
  find("label").onchange = restore;
  restoration.clean = new Float32Array(pixels * channels).fill(0.5);
  if (about.images.count) find("gallery").value = 0;
  if (!takeRestorerLink(readLink()) && takesMask) find("hole").onclick();
  await restore();
}
