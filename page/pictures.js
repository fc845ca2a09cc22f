"use strict";
// Picture files to the numbers that Pillow makes of them, and numbers to colours.
//
// A picture is {width, height, pixels}: red, green, blue, 0 to 255, and an opacity of 255 for each
// pixel, row after row, as a canvas holds it.

const MOST_PIXELS = 50e6;  // of a picture: more takes a browser's memory, and seconds
// Of the picture shown: a larger one is scaled down, a JPEG to a half, a quarter or an eighth.
const LONGEST_SIDE = 800;
const ORANGE = [255, 176, 64], BLUE = [80, 160, 255];  // of positive and of negative numbers

// -------------------------------------------------------------------------------------------
// Files
// -------------------------------------------------------------------------------------------

// An error whose message is for the reader of the page.
class PictureError extends Error {}

// The bytes of a file, to be read as image_files.read does: read(factorOf) resolves to an upright
// picture, on white where it is transparent, and the size of the whole of it, `full`. A JPEG is
// decoded at a part of its size, as Pillow does: factorOf(full) is 1, 2, 4 or 8.
function openPicture(bytes, name) {
  refuseUnreadable(bytes, name);
  const stored = isJpeg(bytes) ? sizeInHeader(bytes) : null, decoded = {};
  const decodeAt = async (factor) => factor === 1 ? decodeWhole(bytes, name)
    : await decodeReduced(bytes, stored, factor) ?? blockMeans(await decode(1), factor);
  const decode = (factor) => decoded[factor] ??= decodeAt(factor);  // at each factor once
  return async function read(factorOf) {
    try {
      const factor = stored ? factorOf(stored) : 1, picture = await decode(factor);
      // A JPEG may be stored turned: upright, another factor may be right.
      const right = stored ? factorOf(picture.full) : 1;
      return right === factor ? picture : await decode(right);
    } catch (error) {
      throw error instanceof PictureError ? error : new PictureError(
        `${name} is no picture that this browser can read, or it is damaged. Choose a JPEG or ` +
        "PNG file.");
    }
  };
}

// A picture file as it is shown: no side is longer than LONGEST_SIDE.
async function loadShown(read) {
  const picture = await read(({width, height}) =>
    [1, 2, 4].find((factor) => Math.max(width, height) <= factor * LONGEST_SIDE) ?? 8);
  const scale = Math.min(1, LONGEST_SIDE / Math.max(picture.width, picture.height));
  const [width, height] = [picture.width, picture.height].map(
    (length) => Math.max(1, Math.round(scale * length)));
  return {...resize(picture, width, height), full: picture.full};
}

// data.load_image: a picture file at the size of a network's input. A JPEG is decoded at a size
// that is still 1.5 times that.
async function loadImage(read, height, width) {
  const picture = await read((full) => [8, 4, 2].find((factor) =>
    full.width >= factor * Math.floor(width * 3 / 2) &&
    full.height >= factor * Math.floor(height * 3 / 2)) ?? 1);
  return resize(picture, width, height);
}

// What is known of a file before it is decoded.
function refuseUnreadable(bytes, name) {
  refuseHuge(sizeInHeader(bytes) ?? {width: 0, height: 0}, name);
  if (isCutOff(bytes)) {
    throw new PictureError(`${name} is damaged: its end is missing. Choose another picture.`);
  }
  if (isDrawing(bytes)) {
    throw new PictureError(`${name} is a drawing (SVG), which has no pixels. Save it as a PNG ` +
                           "file, and choose that.");
  }
}

function refuseHuge({width, height}, name) {
  if (width * height > MOST_PIXELS) {
    throw new PictureError(`${name} is ${width} x ${height}: more than 50 million pixels. ` +
                           "Choose a smaller picture.");
  }
}

// The browser turns it upright; colours stay as they are in the file.
async function decodeWhole(bytes, name) {
  const bitmap = await createImageBitmap(new Blob([bytes]), {
    imageOrientation: "from-image", colorSpaceConversion: "none"});
  refuseHuge(bitmap, name);
  return pictureOf(bitmap);
}

// A JPEG decoded at a part of its size by the library that Pillow uses: the same numbers, in a
// fraction of the time. null if the browser cannot do it.
async function decodeReduced(bytes, stored, factor) {
  if (!globalThis.ImageDecoder || !("rotation" in VideoFrame.prototype)) {
    return null;
  }
  const desiredWidth = Math.ceil(stored.width / factor);
  const desiredHeight = Math.ceil(stored.height / factor);
  const decoder = new ImageDecoder({data: bytes, type: "image/jpeg", desiredWidth, desiredHeight,
                                    colorSpaceConversion: "none"});
  const {image} = await decoder.decode().finally(() => decoder.close());
  const isReduced = image.visibleRect.width === desiredWidth;  // the size is only a wish
  const full = image.rotation % 180 === 0 ? stored : {width: stored.height, height: stored.width};
  const picture = pictureOf(image, full);
  return isReduced ? picture : null;
}

// Nearly the same for a browser that cannot: the mean of each block of 2x2, 4x4 or 8x8 pixels. At
// the edge the last pixel is repeated. (Of a JPEG that is stored turned, Pillow's blocks may begin
// a few pixels earlier.)
function blockMeans(picture, factor) {
  const width = Math.ceil(picture.width / factor), height = Math.ceil(picture.height / factor);
  const small = new Uint8ClampedArray(4 * width * height), times = factor * factor;
  const pixels = new Int32Array(picture.pixels.buffer);  // one number for each pixel
  for (let row = 0, to = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      let redAndBlue = 0, green = 0;  // no colour's sum exceeds 64 x 255, which 16 bits hold
      for (let i = 0; i < factor; i++) {
        const line = Math.min(factor * row + i, picture.height - 1) * picture.width;
        for (let j = 0; j < factor; j++) {
          const pixel = pixels[line + Math.min(factor * column + j, picture.width - 1)];
          redAndBlue += pixel & 0xFF00FF;
          green += pixel >> 8 & 0xFF;
        }
      }
      small[to++] = (redAndBlue & 0xFFFF) / times;  // stored rounded
      small[to++] = green / times;
      small[to++] = (redAndBlue >> 16) / times;
      small[to++] = 255;
    }
  }
  return {...picture, width, height, pixels: small};
}

// What the browser decoded, as a picture. full: the size of the whole.
function pictureOf(image, full) {
  const width = image.displayWidth ?? image.width, height = image.displayHeight ?? image.height;
  const context = new OffscreenCanvas(width, height).getContext(
    "2d", {alpha: false, willReadFrequently: true});
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(image, 0, 0);
  image.close();
  return {width, height, full: full ?? {width, height},
          pixels: context.getImageData(0, 0, width, height).data};
}

const isJpeg = (bytes) => bytes[0] === 0xFF && bytes[1] === 0xD8;
const isPng = (bytes) => bytes[0] === 0x89 && bytes[1] === 0x50;

// Whether the bytes begin as an SVG does, perhaps after an XML declaration and comments.
const isDrawing = (bytes) =>
  /^\s*(<[?!][^>]*>\s*)*<svg[\s>]/.test(new TextDecoder().decode(bytes.subarray(0, 2000)));

// What a JPEG, PNG, GIF or BMP says of its own size, or null: to refuse it before it is decoded.
function sizeInHeader(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 26) {
    return null;
  } else if (isPng(bytes)) {
    return {width: view.getUint32(16), height: view.getUint32(20)};
  } else if (isJpeg(bytes)) {
    const frame = jpegSegment(bytes, (kind) => kind >= 0xC0 && kind <= 0xCF &&
                                               ![0xC4, 0xC8, 0xCC].includes(kind));
    return frame && frame + 9 <= bytes.length &&
      {width: view.getUint16(frame + 7), height: view.getUint16(frame + 5)};
  } else if (bytes[0] === 0x47 && bytes[1] === 0x49) {  // "GI"
    return {width: view.getUint16(6, true), height: view.getUint16(8, true)};
  } else if (bytes[0] === 0x42 && bytes[1] === 0x4D) {  // "BM"
    return {width: Math.abs(view.getInt32(18, true)), height: Math.abs(view.getInt32(22, true))};
  }
  return null;
}

// Where the first segment of such a kind starts in a JPEG, or null.
function jpegSegment(bytes, wanted) {
  for (let place = 2; place + 4 <= bytes.length && bytes[place] === 0xFF;) {
    if (wanted(bytes[place + 1])) {
      return place;
    }
    const isFill = bytes[place + 1] === 0xFF;
    place += isFill ? 1 : 2 + 256 * bytes[place + 2] + bytes[place + 3];
  }
  return null;
}

// Whether the end of a JPEG or PNG is missing: browsers show what there is, Pillow refuses it.
function isCutOff(bytes) {
  const holds = (wanted, start) => {
    for (let place = bytes.length - wanted.length; place >= start; place--) {
      if (wanted.every((byte, index) => bytes[place + index] === byte)) {
        return true;
      }
    }
    return false;
  };
  if (isJpeg(bytes)) {  // the end marker, after the start of the scan: a thumbnail has its own
    const scan = jpegSegment(bytes, (kind) => kind === 0xDA);
    return scan === null || !holds([0xFF, 0xD9], scan);
  }
  return isPng(bytes) && !holds([0x49, 0x45, 0x4E, 0x44], 0);  // "IEND"
}

// base64 to bytes.
function fromBase64(text) {
  const characters = atob(text), bytes = new Uint8Array(characters.length);
  for (let place = 0; place < bytes.length; place++) {
    bytes[place] = characters.charCodeAt(place);
  }
  return bytes;
}

// -------------------------------------------------------------------------------------------
// Pillow's arithmetic
// -------------------------------------------------------------------------------------------

// A matrix of grey values, as Image.convert("L") computes them, or of one of the three colours.
function channelOf(picture, channel) {
  const {width, height, pixels} = picture, A = matrix(height, width);
  const colour = ["red", "green", "blue"].indexOf(channel);
  for (let place = 0, from = 0; place < A.values.length; place++, from += 4) {
    A.values[place] = colour >= 0 ? pixels[from + colour] :
      (19595 * pixels[from] + 38470 * pixels[from + 1] + 7471 * pixels[from + 2] + 0x8000) >> 16;
  }
  return A;
}

// Image.resize((width, height), Image.Resampling.BILINEAR): columns, then rows, both rounded to
// whole numbers. (A canvas scales as it likes, and differently in every browser.) From version 13
// on, Pillow does the rows first where that leaves less to do.
function resize(picture, width, height) {
  if (width === picture.width && height === picture.height) {
    return picture;
  }
  const rowsSaved = picture.height - height, columnsSaved = Math.max(0, picture.width - width);
  return pillow.version >= 13 && rowsSaved > 2 * columnsSaved
    ? resizeAcross(resizeDown(picture, height), width)
    : resizeDown(resizeAcross(picture, width), height);
}

const pillow = {version: 13};  // page.js sets that of the program

function resizeAcross({width: length, height, pixels}, width) {
  const outputs = triangles(length, width), resized = new Uint8ClampedArray(4 * width * height);
  for (let row = 0, to = 0; row < height; row++) {
    for (const {first, weights} of outputs) {
      let from = 4 * (row * length + first), red = HALF, green = HALF, blue = HALF;
      for (let index = 0; index < weights.length; index++, from += 4) {
        red += weights[index] * pixels[from];
        green += weights[index] * pixels[from + 1];
        blue += weights[index] * pixels[from + 2];
      }
      resized[to++] = red >> BITS;
      resized[to++] = green >> BITS;
      resized[to++] = blue >> BITS;
      resized[to++] = 255;
    }
  }
  return {width, height, pixels: resized};
}

function resizeDown({width, height: length, pixels}, height) {
  const resized = new Uint8ClampedArray(4 * width * height), sums = new Int32Array(4 * width);
  triangles(length, height).forEach(({first, weights}, row) => {
    sums.fill(HALF);
    for (let index = 0, from = 4 * width * first; index < weights.length; index++) {
      for (let place = 0; place < sums.length; place++) {
        sums[place] += weights[index] * pixels[from++];
      }
    }
    for (let place = 0; place < sums.length; place++) {
      resized[4 * width * row + place] = place % 4 === 3 ? 255 : sums[place] >> BITS;
    }
  });
  return {width, height, pixels: resized};
}

// Pillow computes in whole numbers: weights are multiples of 2 ** -22, and a half rounds up.
const BITS = 22, HALF = 1 << (BITS - 1);

// For each output, the first input that it is made of, and the weights of that one and the next
// ones: a triangle, as wide as two outputs (two inputs, where a picture is enlarged).
function triangles(inputs, outputs) {
  const scale = inputs / outputs, reach = Math.max(scale, 1);
  return Array.from({length: outputs}, (_, output) => {
    const middle = (output + 0.5) * scale;
    const first = Math.max(0, Math.trunc(middle - reach + 0.5));
    const end = Math.min(inputs, Math.trunc(middle + reach + 0.5));
    const heights = Array.from({length: end - first}, (_, index) => Math.max(
      0, 1 - Math.abs((first + index - middle + 0.5) * (1 / reach))));
    const total = heights.reduce((sum, height) => sum + height, 0);
    return {first, weights: Int32Array.from(
      heights, (height) => Math.trunc(0.5 + height / total * (1 << BITS)))};
  });
}

// -------------------------------------------------------------------------------------------
// Numbers as colours
// -------------------------------------------------------------------------------------------

// 0 black, positive orange, negative blue; what is `limit` or more, either way, in full colour.
function colourOf(value, limit) {
  const strength = Math.min(1, Math.abs(value) / limit) || 0;
  return (value > 0 ? ORANGE : BLUE).map((level) => Math.round(strength * level));
}

// The same as a table of what a canvas holds, from SHADES negative to SHADES positive ones.
const SHADES = 2000, shades = new Uint32Array(Uint8ClampedArray.from(
  Array.from({length: 2 * SHADES + 1}, (_, index) => [...colourOf(index - SHADES, SHADES), 255])
    .flat()).buffer);

// What 98 percent of the numbers are no larger than, either way; 1 if that is 0. Of many numbers a
// sample will do: it decides on colours only.
function strongest(values) {
  const sizes = new Float32Array(Math.min(5000, values.length));
  for (let index = 0; index < sizes.length; index++) {
    sizes[index] = Math.abs(values[Math.floor(index * values.length / sizes.length)]);
  }
  sizes.sort();
  return sizes[Math.floor(0.98 * sizes.length)] || sizes.at(-1) || 1;
}

// Draw numbers, `channels` to a pixel of which the one at `channel` is meant, on a canvas of their
// own size: in orange and blue or, without a limit, as grey values from 0 to 255.
function drawNumbers(canvas, rows, columns, values, limit, channel = 0, channels = 1) {
  const image = imageFor(canvas, Math.max(1, columns), Math.max(1, rows));
  if (rows * columns === 0) {
    return;
  }
  const {data} = image, places = new Uint32Array(data.buffer);
  if (limit === null) {
    for (let place = 0, from = channel; place < places.length; place++, from += channels) {
      data[4 * place] = data[4 * place + 1] = data[4 * place + 2] = values[from];
      data[4 * place + 3] = 255;
    }
  } else {
    const perUnit = SHADES / limit;
    for (let place = 0, from = channel; place < places.length; place++, from += channels) {
      const shade = Math.max(-SHADES, Math.min(SHADES, values[from] * perUnit));
      places[place] = shades[SHADES + (shade | 0)];
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// Draw a picture in dark grey, turning orange where a heat map is `limit` and blue where it is
// -limit. heatmap: {rows, columns, values}, of any size; in between it is interpolated.
function drawHeatmap(canvas, picture, {rows, columns, values}, limit) {
  const {width, height} = picture, image = imageFor(canvas, width, height), {data} = image;
  const across = neighbours(columns, width), line = new Float64Array(columns);
  const lefts = Int32Array.from(across, ([left]) => left);
  const rights = Int32Array.from(across, ([, right]) => right);
  const shares = Float64Array.from(across, ([, , rest]) => rest);
  const greys = picture.greys ??= darkGreysOf(picture);  // it is drawn several times
  neighbours(rows, height).forEach(([above, below, share], row) => {
    for (let column = 0; column < columns; column++) {
      line[column] = (values[above * columns + column] * (1 - share) +
        values[below * columns + column] * share) / limit;
    }
    for (let column = 0, place = width * row; column < width; column++, place++) {
      const heat = line[lefts[column]] * (1 - shares[column]) +
        line[rights[column]] * shares[column];
      const strength = Math.min(1, Math.abs(heat)), colour = heat > 0 ? ORANGE : BLUE;
      const grey = (1 - strength) * greys[place];
      data[4 * place] = grey + colour[0] * strength;
      data[4 * place + 1] = grey + colour[1] * strength;
      data[4 * place + 2] = grey + colour[2] * strength;
      data[4 * place + 3] = 255;
    }
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// A picture's grey values, half as bright.
function darkGreysOf({width, height, pixels}) {
  return new Float32Array(width * height).map((_, place) => 0.15 * pixels[4 * place] +
    0.293 * pixels[4 * place + 1] + 0.057 * pixels[4 * place + 2]);
}

// For each of so many places along a picture the two nearest of its numbers, and the second's share.
function neighbours(numbers, places) {
  return Array.from({length: places}, (_, place) => {
    const at = clamp((place + 0.5) * numbers / places - 0.5, numbers), first = Math.floor(at);
    return [first, Math.min(first + 1, numbers - 1), at - first];
  });
}

// Draw a picture on a canvas of its own size.
function drawPicture(canvas, {width, height, pixels}) {
  resizeCanvas(canvas, width, height);
  canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
}

// What is to be drawn on a canvas of this size. It stays with the canvas: of a large one, to get new
// memory takes longer than to fill it.
function imageFor(canvas, width, height) {
  resizeCanvas(canvas, width, height);
  if (canvas.image?.width !== width || canvas.image.height !== height) {
    canvas.image = new ImageData(width, height);
  }
  return canvas.image;
}

// A canvas of another size takes new memory; of the same size it would, too. The style sheet uses
// the ratio.
function resizeCanvas(canvas, width, height) {
  if (canvas.width !== width || canvas.height !== height) {
    Object.assign(canvas, {width, height});
    canvas.closest(".stage")?.style.setProperty("--ratio", width / height);
  }
}
