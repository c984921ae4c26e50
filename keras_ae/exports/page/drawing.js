// Images on canvases, at their own size: the style sheet makes them larger.

const [height, width, channels] = about.image_shape;
const pixels = height * width;

// Puts an image of numbers from 0 to 1 at a place of a canvas.
function paint(canvas, values, left = 0, top = 0) {
  const data = new ImageData(width, height);
  for (let place = 0; place < pixels; place++) {
    for (let channel = 0; channel < 3; channel++) {
      data.data[4 * place + channel] = Math.round(255 * values[place * channels + Math.min(channel, channels - 1)]);
    }
    data.data[4 * place + 3] = 255;
  }
  canvas.getContext("2d").putImageData(data, left, top);
}

function sized(canvas, columns = 1, rows = 1) {
  canvas.width = columns * width;
  canvas.height = rows * height;
}

// A grid of images in a row.
function paintGrid(canvas, images, columns) {
  const count = images.length / (pixels * channels);
  sized(canvas, columns, Math.ceil(count / columns));
  for (let number = 0; number < count; number++) {
    const image = images.subarray(number * pixels * channels, (number + 1) * pixels * channels);
    paint(canvas, image, (number % columns) * width, Math.floor(number / columns) * height);
  }
}

// Classes of pixels as evenly spaced greys.
function asColours(probabilities, n = 1) {
  const classes = probabilities.length / (n * pixels);
  const values = new Float32Array(n * pixels * channels);
  for (let place = 0; place < n * pixels; place++) {
    const own = probabilities.subarray(place * classes, (place + 1) * classes);
    values.fill(own.indexOf(Math.max(...own)) / (classes - 1), place * channels, (place + 1) * channels);
  }
  return values;
}

// The mean error of each pixel over the channels: black is none, white half of the range.
function errorMap(one, other) {
  const map = new Float32Array(pixels * channels);
  for (let place = 0; place < pixels; place++) {
    let sum = 0;
    for (let channel = 0; channel < channels; channel++) {
      sum += Math.abs(one[place * channels + channel] - other[place * channels + channel]);
    }
    map.fill(Math.min(1, (2 * sum) / channels), place * channels, (place + 1) * channels);
  }
  return map;
}

function meanSquare(one, other) {
  return one.reduce((sum, value, place) => sum + (value - other[place]) ** 2, 0) / one.length;
}

// The image of a file, scaled and centre-cropped.
async function readImage(file) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.max(width / bitmap.width, height / bitmap.height);
  const [across, down] = [bitmap.width * scale, bitmap.height * scale];
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, (width - across) / 2, (height - down) / 2, across, down);
  const { data } = context.getImageData(0, 0, width, height);
  const values = new Float32Array(pixels * channels);
  for (let place = 0; place < pixels; place++) {
    const [red, green, blue] = [0, 1, 2].map((channel) => data[4 * place + channel] / 255);
    if (channels === 1) values[place] = 0.299 * red + 0.587 * green + 0.114 * blue;
    else values.set([red, green, blue], place * channels);
  }
  return values;
}

// Images of the page, bytes in base64.
function storedImage(number) {
  const bytes = atob(about.images.data);
  const start = number * pixels * channels;
  return Float32Array.from({ length: pixels * channels }, (_, place) => bytes.charCodeAt(start + place) / 255);
}
