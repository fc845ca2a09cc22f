"use strict";
// A trained network, computed layer by layer as models.py does.
//
// A tensor is {shape, values}. That of an image or of a stack of feature maps has the shape [rows,
// columns, channels], and all channels of one place stand beside one another.

const tensor = (shape, values) => ({
  shape, values: values ?? new Float32Array(shape.reduce((product, length) => product * length))});

// The layers by their names in models.py: each takes its input and its own weights.
const LAYERS = {
  Scale({values}, {shape, mean, std}) {
    const scaled = tensor(shape);
    for (let place = 0; place < values.length; place++) {
      scaled.values[place] = Math.fround(values[place] - mean[place % 3]) / std[place % 3];
    }
    return scaled;
  },

  // convolution.js, for many channels and many kernels at once: each input is multiplied by its
  // weight in every kernel. kernel: (size, size, channels, filters), in this order.
  Conv2D(x, {shape, kernel, kernel_size: size, stride}) {
    const [, width, channels] = x.shape, [rows, columns, filters] = shape;
    const y = tensor(shape), sums = new Float64Array(filters);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        sums.fill(0);
        let weight = 0;
        for (let i = 0; i < size; i++) {
          const first = ((row * stride + i) * width + column * stride) * channels;
          for (let from = first; from < first + size * channels; from++, weight += filters) {
            addProducts(sums, x.values[from], kernel, weight, filters);
          }
        }
        y.values.set(sums, (row * columns + column) * filters);
      }
    }
    return y;
  },

  BiasRelu(x, {shape, bias}) {
    return tensor(shape, x.values.map(
      (value, place) => Math.max(0, value + bias[place % bias.length])));
  },

  MaxPool: (x, {shape}) => pool(x, shape, (a, b, c, d) => Math.max(a, b, c, d)),
  AveragePool: (x, {shape}) => pool(x, shape, (a, b, c, d) => (a + b + c + d) / 4),

  Flatten: (x, {shape}) => tensor(shape, x.values),
  Dropout: (x) => x,  // it drops in training only

  Dense(x, {shape, kernel, bias, relu}) {
    const [units] = shape, sums = Float64Array.from(bias);
    for (let input = 0; input < x.values.length; input++) {
      addProducts(sums, x.values[input], kernel, input * units, units);
    }
    return tensor(shape, Float32Array.from(sums, (sum) => relu ? Math.max(0, sum) : sum));
  },
};

// Add to each of the sums the input times its weight; after ReLU many inputs are 0.
function addProducts(sums, input, weights, first, count) {
  if (input !== 0) {
    for (let index = 0; index < count; index++) {
      sums[index] += input * weights[first + index];
    }
  }
}

// Each 2x2 block of each channel becomes one number.
function pool(x, shape, combine) {
  const [, width, channels] = x.shape, [rows, columns] = shape, y = tensor(shape);
  let to = 0;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const first = (2 * row * width + 2 * column) * channels, below = first + width * channels;
      for (let channel = 0; channel < channels; channel++) {
        y.values[to++] = combine(
          x.values[first + channel], x.values[first + channels + channel],
          x.values[below + channel], x.values[below + channels + channel]);
      }
    }
  }
  return y;
}

// The layers that are computed here: those before the first one of a type that LAYERS has not.
function computedLayers({layers}) {
  const unknown = layers.findIndex(({type}) => !Object.hasOwn(LAYERS, type));
  return unknown < 0 ? layers : layers.slice(0, unknown);
}

// The outputs of these layers for an image of the size of the network's input; the last one of a
// whole network is the logit.
function activationsOf(network, picture) {
  const outputs = [];
  let x = tensor([picture.height, picture.width, 3],
                 picture.pixels.filter((_, place) => place % 4 !== 3));  // red, green, blue
  for (const layer of computedLayers(network)) {
    x = LAYERS[layer.type](x, layer);
    outputs.push(x);
  }
  return outputs;
}

const sigmoid = (logit) => 1 / (1 + Math.exp(-logit));

// The probability of the first class, when the logit of the image is known. A network trained
// with --tta takes the mean with that of the mirror image.
function probabilityOf(network, picture, logit) {
  const probability = sigmoid(logit);
  return network.tta
    ? (probability + sigmoid(activationsOf(network, mirror(picture)).at(-1).values[0])) / 2
    : probability;
}

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

// The picture with a grey square on it, size pixels wide.
function cover({width, height, pixels}, row, column, size) {
  const covered = pixels.slice();
  for (let line = row; line < Math.min(height, row + size); line++) {
    for (let place = column; place < Math.min(width, column + size); place++) {
      covered.set([128, 128, 128, 255], 4 * (line * width + place));
    }
  }
  return {width, height, pixels: covered};
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

// One bit for the sign, five for the exponent, ten for the fraction (IEEE 754).
function fromFloat16(halves) {
  const all = Float32Array.from({length: 65536}, (_, half) => {
    const sign = half >> 15 ? -1 : 1, exponent = (half >> 10) & 31, fraction = half & 1023;
    return exponent === 0 ? sign * fraction * 2 ** -24
      : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
  const weights = new Float32Array(halves.length);
  for (let place = 0; place < weights.length; place++) {
    weights[place] = all[halves[place]];
  }
  return weights;
}
