"use strict";
// A trained network, computed layer by layer as models.py does.
//
// A tensor is {shape, values}. That of an image or of a stack of feature maps has the shape [rows,
// columns, channels], and all channels of one place stand beside one another.

const tensor = (shape, values) => ({
  shape, values: values ?? new Float32Array(shape.reduce((product, length) => product * length))});

// The rows and columns of a tensor that are computed: from the first to before the last one.
const wholeOf = ([rows, columns]) => ({top: 0, left: 0, bottom: rows, right: columns});

// The layers by their names in models.py: each takes its input, its own weights and the tensor for
// its output, of which it computes `part`. Where a picture is covered, little of it changes.
const LAYERS = {
  Scale({values}, {mean, std}, y, part) {
    return eachPlace(y, part, (first) => {
      for (let colour = 0; colour < 3; colour++) {
        y.values[first + colour] =
          Math.fround(values[first + colour] - mean[colour]) / std[colour];
      }
    });
  },

  // convolution.js, for many channels and many kernels at once: each input is multiplied by its
  // weight in every kernel. kernel: (size, size, channels, filters), in this order.
  Conv2D(x, {kernel, kernel_size: size, stride}, y, {top, left, bottom, right}) {
    const [, width, channels] = x.shape, [, columns, filters] = y.shape;
    const sum = weightedSums(kernel, size * size * channels, filters);
    for (let row = top; row < bottom; row++) {
      for (let column = left; column < right; column++) {
        sum.clear();
        for (let i = 0; i < size; i++) {
          const first = ((row * stride + i) * width + column * stride) * channels;
          sum.add(x.values, first, size * channels);
        }
        y.values.set(sum.total(), (row * columns + column) * filters);
      }
    }
    return y;
  },

  BiasRelu(x, {bias}, y, part) {
    return eachPlace(y, part, (first) => {
      for (let channel = 0; channel < bias.length; channel++) {
        y.values[first + channel] = Math.max(0, x.values[first + channel] + bias[channel]);
      }
    });
  },

  MaxPool: (x, _, y, part) => pool(x, y, part, (a, b, c, d) => Math.max(a, b, c, d)),
  AveragePool: (x, _, y, part) => pool(x, y, part, (a, b, c, d) => (a + b + c + d) / 4),

  Flatten: (x, {shape}) => tensor(shape, x.values),
  Dropout: (x) => x,  // it drops in training only

  Dense(x, {kernel, bias, relu}, y) {
    const sum = weightedSums(kernel, x.values.length, bias.length);
    sum.clear();
    sum.add(x.values, 0, x.values.length);
    sum.total().forEach((total, unit) => {
      y.values[unit] = relu ? Math.max(0, total + bias[unit]) : total + bias[unit];
    });
    return y;
  },
};

// Sums of products, one for each column of a matrix of weights: add() multiplies the next inputs
// by the next rows of it. After ReLU many inputs are 0, and left out; the others are taken eight at
// a time, which is faster than one by one.
function weightedSums(weights, rows, columns) {
  const sums = new Float64Array(columns);
  const inputs = new Float64Array(rows + 7), starts = new Int32Array(rows + 7);
  let row = 0, count = 0;
  return {
    clear() {
      row = count = 0;
      sums.fill(0);
    },
    add(values, first, length) {
      for (let from = first; from < first + length; from++, row++) {
        if (values[from] !== 0) {
          inputs[count] = values[from];
          starts[count++] = row * columns;
        }
      }
    },
    total() {
      for (let each = count; each < count + 7; each++) {  // to a multiple of eight
        inputs[each] = starts[each] = 0;
      }
      for (let each = 0; each < count; each += 8) {
        addProducts(sums, weights, inputs, starts, each);
      }
      return sums;
    },
  };
}

// Add to each of the sums the products of eight inputs, from `each` on, with their weights.
function addProducts(sums, weights, inputs, starts, each) {
  const a = inputs[each], b = inputs[each + 1], c = inputs[each + 2], d = inputs[each + 3];
  const e = inputs[each + 4], f = inputs[each + 5], g = inputs[each + 6], h = inputs[each + 7];
  const i = starts[each], j = starts[each + 1], k = starts[each + 2], l = starts[each + 3];
  const m = starts[each + 4], n = starts[each + 5], o = starts[each + 6], p = starts[each + 7];
  for (let column = 0; column < sums.length; column++) {
    sums[column] += a * weights[i + column] + b * weights[j + column] + c * weights[k + column] +
      d * weights[l + column] + e * weights[m + column] + f * weights[n + column] +
      g * weights[o + column] + h * weights[p + column];
  }
}

// Call compute(first) for each place of a part, with where its channels begin; returns y.
function eachPlace(y, {top, left, bottom, right}, compute) {
  const [, columns, channels] = y.shape;
  for (let row = top; row < bottom; row++) {
    for (let column = left; column < right; column++) {
      compute((row * columns + column) * channels);
    }
  }
  return y;
}

// Each 2x2 block of each channel becomes one number.
function pool(x, y, {top, left, bottom, right}, combine) {
  const [, width, channels] = x.shape, [, columns] = y.shape;
  for (let row = top; row < bottom; row++) {
    for (let column = left; column < right; column++) {
      const first = (2 * row * width + 2 * column) * channels, below = first + width * channels;
      const to = (row * columns + column) * channels;
      for (let channel = 0; channel < channels; channel++) {
        y.values[to + channel] = combine(
          x.values[first + channel], x.values[first + channels + channel],
          x.values[below + channel], x.values[below + channels + channel]);
      }
    }
  }
  return y;
}

// Compute a layer, or a part of its output.
const computeLayer = (layer, x, y = tensor(layer.shape), part = wholeOf(layer.shape)) =>
  LAYERS[layer.type](x, layer, y, part);

// The layers that are computed here: those before the first one of a type that LAYERS has not, or
// whose weights are too many for a page.
function computedLayers({layers}) {
  const unknown = layers.findIndex(({type, left_out}) =>
    left_out || !Object.hasOwn(LAYERS, type));
  return unknown < 0 ? layers : layers.slice(0, unknown);
}

const inputOf = ({width, height, pixels}) =>
  tensor([height, width, 3], pixels.filter((_, place) => place % 4 !== 3));  // red, green, blue

// The outputs of these layers for an image of the size of the network's input; the last one of a
// whole network is the logit. off: the feature maps that are switched off, [{layer, map}, ...];
// layer: the index of a BiasRelu.
function activationsOf(network, picture, off = []) {
  const outputs = [];
  let x = inputOf(picture);
  computedLayers(network).forEach((layer, index) => {
    x = computeLayer(layer, x);
    silence(x, index, off);
    outputs.push(x);
  });
  return outputs;
}

// Set the maps of this layer that are switched off to 0: what a kernel and a bias of 0 would give.
function silence({shape, values}, index, off) {
  for (const {layer, map} of off) {
    if (layer === index) {
      for (let place = map; place < values.length; place += shape[2]) {
        values[place] = 0;
      }
    }
  }
}

// The logit, when the input x of the layer `first` differs in a part of it from the one that
// `outputs` were computed from: only what depends on that part is computed again.
function logitAfter(network, outputs, first, x, part, off = []) {
  for (let index = first; index < network.layers.length; index++) {
    const layer = network.layers[index];
    if (layer.shape.length === 3) {
      part = partReached(layer, part);
      x = computeLayer(layer, x, tensor(layer.shape, outputs[index].values.slice()), part);
      silence(x, index, off);
    } else {
      x = computeLayer(layer, x);
    }
  }
  return x.values[0];
}

// The places of a layer's output that depend on this part of its input.
function partReached({type, shape: [rows, columns], kernel_size: size, stride}, part) {
  const [by, reach] = type === "Conv2D" ? [stride, size] : type.endsWith("Pool") ? [2, 2] : [1, 1];
  const first = (start) => Math.max(0, Math.ceil((start - reach + 1) / by));
  const end = (stop, length) => Math.min(length, Math.floor((stop - 1) / by) + 1);
  return {top: first(part.top), left: first(part.left), bottom: end(part.bottom, rows),
          right: end(part.right, columns)};
}

const sigmoid = (logit) => 1 / (1 + Math.exp(-logit));

// The probability of the first class, when the logit of the image is known. A network trained
// with --tta takes the mean with that of the mirror image.
function probabilityOf(network, picture, logit, off = []) {
  return network.tta ? (sigmoid(logit) + sigmoid(mirrorLogit(network, picture, off))) / 2
    : sigmoid(logit);
}

const mirrorLogit = (network, picture, off) =>
  activationsOf(network, mirror(picture), off).at(-1).values[0];

// "If the model predicts a value higher than some threshold t": compared as float32, as in
// metrics.py.
function labelOf(network, probability) {
  const above = Math.fround(probability) > Math.fround(network.threshold);
  return network.classes[above ? 0 : 1];
}

function mirror({width, height, pixels}) {
  const mirrored = pixels.slice();
  for (let place = 0; place < width * height; place++) {
    const column = place % width, from = 4 * (place - column + width - 1 - column);
    mirrored.set(pixels.subarray(from, from + 4), 4 * place);
  }
  return {width, height, pixels: mirrored};
}

const GREY = 128;  // of what is covered

// The picture with a grey square on it, size pixels wide.
function cover({width, height, pixels}, row, column, size) {
  const covered = pixels.slice();
  for (let line = row; line < Math.min(height, row + size); line++) {
    for (let place = column; place < Math.min(width, column + size); place++) {
      covered.set([GREY, GREY, GREY, 255], 4 * (line * width + place));
    }
  }
  return {width, height, pixels: covered};
}

// The places of a square that slides over an image by half of its size, as explain.occlude has it.
function coverPlaces(height, width, size) {
  const step = Math.max(1, size >> 1), along = (length) => {
    const starts = [];
    for (let start = 0; start < length - size; start += step) {
      starts.push(start);
    }
    return [...starts, length - size];
  };
  return along(height).flatMap((row) => along(width).map(
    (column) => ({kind: "cover", row, column, size})));
}

// explain.occlusion_map: by how much the probability falls when a pixel is covered, in the mean over all
// squares that cover it. covers: [{row, column, size, probability}, ...], perhaps not all yet.
function occlusionMap(height, width, probability, covers) {
  const lost = new Float32Array(height * width), times = new Float32Array(height * width);
  for (const {row, column, size, probability: remaining} of covers) {
    for (let place = 0; place < size * size; place++) {
      const pixel = (row + Math.floor(place / size)) * width + column + place % size;
      lost[pixel] += probability - remaining;
      times[pixel] += 1;
    }
  }
  return lost.map((sum, pixel) => times[pixel] && sum / times[pixel]);
}

// -------------------------------------------------------------------------------------------
// How the weights are stored
// -------------------------------------------------------------------------------------------

// Give the layers their kernels, which the page holds as base64 of float16.
function readKernels(network) {
  for (const layer of network.layers) {
    if (layer.kernel) {
      layer.kernel = fromFloat16(new Uint16Array(fromBase64(layer.kernel).buffer));
    }
  }
}

// One bit for the sign, five for the exponent, ten for the fraction (IEEE 754). JavaScript
// multiplies in float64: the weights are turned into it once, not in every product.
function fromFloat16(halves) {
  const all = Float64Array.from({length: 65536}, (_, half) => {
    const sign = half >> 15 ? -1 : 1, exponent = (half >> 10) & 31, fraction = half & 1023;
    return exponent === 0 ? sign * fraction * 2 ** -24
      : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
  const weights = new Float64Array(halves.length);
  for (let place = 0; place < weights.length; place++) {
    weights[place] = all[halves[place]];
  }
  return weights;
}
