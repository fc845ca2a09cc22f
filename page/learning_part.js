"use strict";
// How a network learned: the kernels of its first convolution before the first epoch and after
// every one, and what they make of the picture.

const MOST_KERNELS = 12;  // that are shown: those that are strongest in the end

// network.learning: see compose.py; now: what the page shows, see network_part.js; choose(kernel)
// shows its feature map.
function startLearning(network, now, choose) {
  const {learning} = network, layer = network.layers.find(({type}) => type === "Conv2D");
  const size = layer.kernel_size, filters = layer.shape[2], length = size * size * 3 * filters;
  const all = fromFloat16(new Uint16Array(fromBase64(learning.kernels).buffer));
  const epochs = learning.epochs.length, slider = byId("epoch");
  const kernelsOf = (index) => all.subarray(index * length, (index + 1) * length);

  const strength = (filter) => {
    let sum = 0;
    for (let place = filter; place < length; place += filters) {
      sum += kernelsOf(epochs - 1)[place] ** 2;
    }
    return sum;
  };
  const shown = Array.from({length: filters}, (_, filter) => filter).sort(
    (one, another) => strength(another) - strength(one)).slice(0, MOST_KERNELS);

  // The kernels that are shown, as a layer of their own.
  function layerOf(index) {
    const kernels = kernelsOf(index), [rows, columns] = layer.shape;
    const kernel = Float64Array.from({length: size * size * 3 * shown.length}, (_, place) =>
      kernels[Math.floor(place / shown.length) * filters + shown[place % shown.length]]);
    return {...layer, kernel, shape: [rows, columns, shown.length]};
  }

  const buttons = shown.map((filter) => {
    const button = element("button", {type: "button"}, element("canvas"), element("canvas"),
                           element("span", {textContent: `kernel ${filter + 1}`}));
    button.addEventListener("click", () => choose(filter));
    byId("learning-kernels").append(button);
    return button;
  });
  makeToolbar(byId("learning-kernels"));

  function draw() {
    const index = Number(slider.value), chosen = layerOf(index);
    const maps = computeLayer(chosen, now.outputs[0]);
    const kernelLimit = strongest(chosen.kernel), mapLimit = strongest(maps.values);
    const [rows, columns] = maps.shape;
    buttons.forEach((button, filter) => {
      const [kernel, map] = button.children;
      const pixels = new Uint8ClampedArray(size * size * 4);
      for (let place = 0; place < size * size; place++) {
        for (let colour = 0; colour < 3; colour++) {
          const weight = chosen.kernel[(place * 3 + colour) * shown.length + filter];
          pixels[4 * place + colour] = 128 + 127 * weight / kernelLimit;
        }
        pixels[4 * place + 3] = 255;
      }
      drawPicture(kernel, {width: size, height: size, pixels});
      drawNumbers(map, rows, columns, maps.values, mapLimit, filter, shown.length);
    });
    const epoch = learning.epochs[index], accuracy = learning.accuracies[index];
    byId("epoch-words").textContent = (epoch === 0 ? "before the first epoch"
      : `after epoch ${epoch}${index === epochs - 1 ? ", the network of this page" : ""}`) +
      (accuracy === null ? "" : `: accuracy ${percent(accuracy)}`);
    slider.setAttribute("aria-valuetext", byId("epoch-words").textContent);
  }

  byId("learning").hidden = false;
  slider.max = slider.value = epochs - 1;
  slider.addEventListener("input", draw);

  return {draw, epochs: learning.epochs, kernels: (index) => Array.from(kernelsOf(index)),
          words: () => byId("epoch-words").textContent};
}
