// Random numbers of a seed, and the loops of the priors.

function randomOf(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0; // mulberry32
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  return { uniform, normal };
}

const latents = about.latent_shape.reduce((product, side) => product * side, 1);

// Codes of n samples in a row. `labels` are those of the classes; `report` is told the share that is done.
async function drawCodes(n, { seed, temperature, guidance }, labels, report = () => {}) {
  const random = randomOf(seed);
  const noise = Float32Array.from({ length: n * latents }, () => temperature * random.normal());
  if (about.prior === "normal") return noise;
  if (about.prior === "uniform") return Int32Array.from(noise, () => Math.floor(random.uniform() * about.codes));
  if (about.prior === "once") {
    const share = Float32Array.from({ length: n }, random.uniform);
    return (await run("prior", n, { noise, share, label: labels })).z.data;
  }
  if (about.prior === "steps") {
    let z = noise;
    for (let step = 0; step < about.steps; step++) {
      report(step / about.steps);
      const inputs = { z, time: filled(n, step / about.steps), label: labels, guidance: filled(n, guidance) };
      const outputs = await run("prior", n, inputs);
      if (step === about.steps - 1) return outputs.code.data;
      z = outputs.next_z;
      await painted();
    }
  }
  return drawTokens(n, random, temperature, guidance, labels, report);
}

// A token after another. With labels each image has a second row, without its label.
async function drawTokens(n, random, temperature, guidance, labels, report) {
  const guided = about.prior_classes > 0;
  const rows = guided ? 2 * n : n;
  const label = guided ? [...labels, ...filled(n, about.prior_classes)] : filled(n, 0);
  const size = about.graphs.prior.inputs.find((input) => input.name === "kept").shape.reduce((a, b) => a * b, 1);
  let kept = new Float32Array(rows * size);
  let token = filled(rows, about.codes);
  const tokens = new Int32Array(n * latents);
  for (let place = 0; place < latents; place++) {
    report(place / latents);
    const outputs = await run("prior", rows, { token, place: filled(rows, place), label, kept });
    kept = outputs.next_kept;
    const logits = outputs.logits.data;
    for (let row = 0; row < n; row++) {
      const own = logits.subarray(row * about.codes, (row + 1) * about.codes);
      const other = guided ? logits.subarray((row + n) * about.codes, (row + n + 1) * about.codes) : own;
      tokens[row * latents + place] = drawn(own, other, guided ? guidance : 1, temperature, random.uniform());
    }
    token = Array.from({ length: rows }, (_, row) => tokens[(row % n) * latents + place]);
    if (place % 4 === 3) await painted();
  }
  return tokens;
}

// The code whose cumulative probability reaches the share.
function drawn(own, other, guidance, temperature, share) {
  const scores = Float64Array.from(own, (value, code) => other[code] + guidance * (value - other[code]));
  const highest = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  const weights = scores.map((value) => Math.exp((value - highest) / Math.max(temperature, 1e-3)));
  let left = share * weights.reduce((a, b) => a + b, 0);
  const code = weights.findIndex((weight) => (left -= weight) < 0);
  return code < 0 ? weights.length - 1 : code;
}

const painted = () => new Promise((resolve) => setTimeout(resolve, 0));
