// A model that restores images: noise or holes go in, and the wipe shows both sides.

const inputs = about.restores ? about.graphs.restorer.inputs.map((input) => input.name) : [];
const takesMask = inputs.includes("mask");
const restoration = { clean: null, noisy: null, mask: new Float32Array(pixels).fill(1), restored: null };
const linked = ["gallery", "label", "noise", "wipe"]; // in the link, beside the holes

const restore = paced(async () => {
  degrade();
  const outputs = await run("restorer", 1, { image: restoration.noisy, mask: restoration.mask, label: filled(1, Number(find("label").value)) });
  restoration.restored = outputs.restored?.data ?? asColours(outputs.probabilities.data);
  paintBefore();
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
  find("gallery").value ||= 0; // of an image that is not here
  restoration.clean = storedImage(Number(find("gallery").value));
  if (!takesMask || !Array.isArray(link.edges)) return false;
  const edges = new Set(link.edges);
  let known = 1;
  restoration.mask = restoration.mask.map((_, place) => (known = edges.has(place) ? 1 - known : known));
  keepOneKnown();
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

function paintBefore() {
  paint(find("before"), restoration.noisy);
  if (!takesMask) return;
  const context = find("before").getContext("2d");
  context.fillStyle = "#e05252";
  restoration.mask.forEach((known, place) => known || context.fillRect(place % width, Math.floor(place / width), 1, 1));
}

// A square of missing pixels, as far as it lies in the image.
function makeHole(left, top, side) {
  const inside = (value, most) => Math.min(most, Math.max(0, value));
  for (let row = inside(top, height); row < inside(top + side, height); row++) {
    restoration.mask.fill(0, row * width + inside(left, width), row * width + inside(left + side, width));
  }
  keepOneKnown();
}

function keepOneKnown() {
  if (!restoration.mask.some((known) => known)) restoration.mask[0] = 1;
}

const cursor = [Math.floor(width / 2), Math.floor(height / 2)];

function wipe() {
  const after = find("after");
  const context = after.getContext("2d");
  paint(after, restoration.restored);
  context.clearRect(0, 0, Math.round(width * Number(find("wipe").value)), height);
  if (!takesMask || !find("before").matches(":focus-visible")) return;
  context.fillStyle = "#ffd400"; // where the keys are
  context.fillRect(...cursor, 1, 1);
}

function makeBrush() {
  const before = find("before");
  const paintAt = (x, y) => {
    const size = Number(find("brush").value);
    makeHole(Math.round(x - size / 2), Math.round(y - size / 2), size);
    restore();
  };
  const move = (event) => {
    const box = before.getBoundingClientRect();
    paintAt(((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height);
  };
  before.onpointerdown = (event) => { before.setPointerCapture(event.pointerId); move(event); };
  before.onpointermove = (event) => event.buttons && move(event);
  before.tabIndex = 0;
  before.setAttribute("role", "application");
  before.setAttribute("aria-label", "The image that goes in: drag to make holes, or move with the arrow keys and press Space");
  before.onkeydown = (event) => {
    const step = ARROWS[event.key];
    if (!step && event.key !== " ") return;
    event.preventDefault();
    if (!step) return paintAt(cursor[0] + 0.5, cursor[1] + 0.5);
    cursor[0] = Math.min(width - 1, Math.max(0, cursor[0] + step[0]));
    cursor[1] = Math.min(height - 1, Math.max(0, cursor[1] - step[1]));
    wipe();
    say(`Column ${cursor[0] + 1}, row ${cursor[1] + 1}`);
  };
  before.onfocus = before.onblur = wipe;
  find("clear").onclick = () => { restoration.mask.fill(1); restore(); };
  find("hole").onclick = () => {
    const side = Math.max(1, Math.floor(Math.min(width, height) / 4));
    makeHole(Math.floor((width - side) / 2), Math.floor((height - side) / 2), side);
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
  if (!takeRestorerLink(readLink()) && takesMask) find("hole").onclick();
  await restore();
}
