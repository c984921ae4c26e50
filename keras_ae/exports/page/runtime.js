// The networks: ONNX Runtime, from this page or from a link, and one session for each graph.

const about = JSON.parse(document.getElementById("about").textContent);
const find = (id) => document.getElementById(id);

// Bytes of a part of this page: base64 of gzip.
async function part(id) {
  const packed = Uint8Array.from(atob(find(id).textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Bytes of a file of the runtime, which a link has with the hash that it must have.
async function runtimeFile(name) {
  const link = about.runtime[name];
  if (!link) return part(name);
  const response = await fetch(link.url, { integrity: link.integrity });
  return new Uint8Array(await response.arrayBuffer());
}

let ort;
const sessions = {};

async function start() {
  const [script, wasm] = await Promise.all([runtimeFile("script"), runtimeFile("wasm")]);
  ort = await import(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  ort.env.wasm.wasmBinary = wasm.buffer;
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  for (const name of Object.keys(about.graphs)) {
    sessions[name] = await ort.InferenceSession.create(await part(name), { executionProviders: ["wasm"] });
  }
}

const arrays = { float32: Float32Array, int32: Int32Array };
let last = Promise.resolve();

// Outputs by name. Inputs are arrays of n rows, or tensors. One call at a time.
function run(name, n, inputs) {
  const feeds = {};
  for (const { name: input, shape, type } of about.graphs[name].inputs) {
    const given = inputs[input];
    feeds[input] = given instanceof ort.Tensor ? given : new ort.Tensor(type, arrays[type].from(given), [n, ...shape]);
  }
  const result = last.then(() => sessions[name].run(feeds));
  last = result.catch(() => {});
  return result;
}

const filled = (n, value) => new Array(n).fill(value);
