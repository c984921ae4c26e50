// What both kinds of model have: what is shown, images that come in, and the start.

function say(text) {
  find("status").textContent = text;
}

// Shows what this model has, and hides the rest.
function arrange() {
  const has = {
    samples: about.samples,
    latents: !about.restores && !isTokens,
    pad: hasPad,
    labels: about.class_names.length > 0 && about.takes_labels,
    guidance: about.samples && about.prior_classes > 0 && ["steps", "tokens"].includes(about.prior),
    map: Boolean(about.map),
    gallery: about.images.count > 0,
    restorer: about.restores,
    noise: about.denoises,
    brush: takesMask,
  };
  for (const [name, shown] of Object.entries(has)) {
    for (const element of document.querySelectorAll(`.for-${name}`)) element.hidden = !shown;
  }
  document.querySelector(".pictures").hidden = about.restores;
  document.title = find("title").textContent = about.title;
  find("about-text").textContent = about.text;
  about.class_names.forEach((name, label) => find("label").append(new Option(name, label)));
  find("gallery").append(new Option("an image of the data", ""));
  for (let number = 0; number < about.images.count; number++) {
    const label = about.images.class_names[about.images.labels[number]];
    find("gallery").append(new Option(label ? `${number + 1}: ${label}` : String(number + 1), number));
  }
  for (const output of document.querySelectorAll("output")) {
    const input = find(output.htmlFor.value);
    const copy = () => (output.value = input.value);
    input.addEventListener("input", copy);
    addEventListener("ready", copy);
    copy();
  }
}

function takeImages() {
  const take = about.restores ? takeDamaged : takeImage;
  const takeFile = async (file) => {
    if (!file?.type.startsWith("image/")) return say("That is no image");
    try {
      const image = await readImage(file);
      find("gallery").value = "";
      await take(image);
    } catch {
      say("That image does not open");
    }
  };
  find("file").onchange = () => {
    takeFile(find("file").files[0]);
    find("file").value = ""; // so that the same file can be taken again
  };
  find("gallery").onchange = () => {
    const number = Number(find("gallery").value);
    if (find("gallery").value) take(storedImage(number), number);
  };
  addEventListener("paste", (event) => event.clipboardData.files.length && takeFile(event.clipboardData.files[0]));
  addEventListener("dragover", (event) => { event.preventDefault(); find("drop").hidden = false; });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) find("drop").hidden = true; });
  addEventListener("drop", (event) => {
    event.preventDefault();
    find("drop").hidden = true;
    takeFile(event.dataTransfer.files[0]);
  });
}

try {
  arrange();
  await start();
  document.querySelector("main").hidden = false;
  takeImages();
  await (about.restores ? startRestorer() : startExplorer());
  dispatchEvent(new Event("ready"));
  addEventListener("hashchange", () => { leaves = true; location.reload(); });
  if (!about.restores) say(`Ready after ${(performance.now() / 1000).toFixed(1)} s`);
  document.body.dataset.ready = Math.round(performance.now());
} catch (error) {
  say(`This page does not run here: ${error.message}`);
  throw error;
}
if (about.samples) drawGrid();
