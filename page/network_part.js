"use strict";
// The second part of the page: a trained network, computed for the picture shown.

const COLOURS = ["red", "green", "blue"];

// network: see compose.py; sendKernel(settings) shows a kernel in the first part. Returns
// what the rest of the page uses of it.
function startNetworkPart(network, sendKernel) {
  readKernels(network);
  const layers = computedLayers(network), unknown = network.layers[layers.length];
  const [height, width] = network.input_size;
  const square = {row: 0, column: 0, size: Math.max(1, Math.floor(Math.min(height, width) / 5))};
  const blocks = findBlocks(), timings = {};
  let uncovered, outputs, probability, before;
  let chosen = null;                  // {block, filter, channel}
  const place = {row: 0, column: 0};  // of the window, in the chosen map

  // Each convolution with the layers after it: bias and ReLU, and pooling, in either order. One
  // whose bias and ReLU are not computed here is left out.
  function findBlocks() {
    const made = [];
    layers.forEach((layer, index) => {
      if (layer.type === "Conv2D") {
        made.push({index, layer, last: index, stage: "last"});
      } else if (made.length && made.at(-1).last === index - 1 &&
                 ["BiasRelu", "MaxPool", "AveragePool"].includes(layer.type)) {
        made.at(-1).last = index;
        made.at(-1)[layer.type === "BiasRelu" ? "biasRelu" : "pooling"] = layer;
      }
    });
    return made.filter(({biasRelu}) => biasRelu);
  }

  // ---- computing -------------------------------------------------------------------------

  // byTensorFlow: the probability that TensorFlow computed for this picture, if it did.
  function show(input, byTensorFlow = null) {
    const started = performance.now();
    uncovered = input;
    probability = byTensorFlow;
    compute();
    if (byId("cover").checked) {  // it covers the new picture, too
      before = probabilityOf(network, input, activationsOf(network, input).at(-1).values[0]);
      showPrediction(true);
    }
    untilShown(started).then((milliseconds) => { timings.classified = milliseconds; });
  }

  function compute() {
    const started = performance.now(), covering = byId("cover").checked;
    const picture = covering ? cover(uncovered, square.row, square.column, square.size) : uncovered;
    outputs = activationsOf(network, picture);
    if (!unknown) {
      probability = probabilityOf(network, picture, outputs.at(-1).values[0]);
    }
    if (!covering) {
      before = probability;
    }
    timings.computed = performance.now() - started;
    drawPicture(byId("input").querySelector("canvas"), picture);
    showPrediction(covering);
    blocks.forEach(drawMaps);
    drawUnits();
    explain();
  }

  function showPrediction(covering) {
    byId("bar").firstElementChild.style.width = `${100 * probability}%`;
    byId("bar").lastElementChild.style.left = `${100 * network.threshold}%`;
    if (probability === null) {
      byId("label").textContent = "";
      byId("probability").textContent = "For this picture, ask predict.py for the prediction.";
      return;
    }
    const name = network.classes[0], label = labelOf(network, probability);
    const ofLabel = label === name ? probability : 1 - probability;
    byId("label").textContent = `${label} (${percent(ofLabel)})`;
    byId("probability").textContent =
      `The probability of ${name} is ${probability.toFixed(4)}; above the run's threshold of ` +
      `${network.threshold} it predicts ${name}.` +
      (covering ? ` Uncovered: ${before.toFixed(4)}.` : "");
  }

  // The numbers of a block's maps at a stage: "response", "relu" (then bias and ReLU), or "last".
  function mapsOf(block, stage) {
    const response = outputs[block.index];
    if (stage === "response") {
      return response;
    } else if (stage === "last") {
      return outputs[block.last];
    }  // max pooling comes before bias and ReLU: the same numbers for less work
    return LAYERS.BiasRelu(response, {shape: response.shape, bias: block.biasRelu.bias});
  }

  // ---- the maps --------------------------------------------------------------------------

  function makeMaps() {
    blocks.forEach((block, number) => {
      const {layer} = block, [rows, columns, filters] = network.layers[block.last].shape;
      const stage = element("select", {},
        element("option", {value: "last", textContent: block.pooling
          ? "after ReLU and pooling" : "after ReLU"}),
        ...(block.pooling ? [element("option", {value: "relu", textContent: "after ReLU"})] : []),
        element("option", {value: "response", textContent: "the response, before bias and ReLU"}));
      stage.addEventListener("change", () => {
        block.stage = stage.value;
        drawMaps(block);
      });
      block.canvases = [];
      const gallery = element("div", {className: "gallery"});
      for (let filter = 0; filter < filters; filter++) {
        const canvas = element("canvas");
        const button = element("button", {type: "button"}, canvas, `${filter + 1}`);
        button.setAttribute("aria-pressed", "false");
        button.setAttribute("aria-label", `convolution ${number + 1}, feature map ${filter + 1}`);
        button.addEventListener("click", () => {
          choose(number, filter);
          byId("chosen").scrollIntoView({block: "nearest"});
          say(byId("map-sum").textContent);
        });
        block.canvases.push(canvas);
        gallery.append(button);
      }
      const {kernel_size: size, stride} = layer;
      block.element = element("div", {className: "block"},
        element("h3", {textContent: `Convolution ${number + 1}: ${filters} feature maps of ` +
                                    `${rows} x ${columns}`}),
        element("div", {className: "row"}, element("label", {}, "shown: ", stage),
                element("span", {className: "note", textContent:
                  `${size} x ${size} kernels, stride ${stride}. Choose a map to see its kernel.`})),
        gallery);
      byId("maps").append(block.element);
    });
    if (!blocks.length && !unknown) {
      byId("maps").append(element("p", {textContent: "This network has no convolution: there " +
        "are no kernels and no feature maps to show."}));
    }
  }

  function drawMaps(block) {
    const {shape: [rows, columns, filters], values} = mapsOf(block, block.stage);
    const limit = strongest(values);  // one for all maps of the layer: they can be compared
    block.canvases.forEach((canvas, filter) =>
      drawNumbers(canvas, rows, columns, values, limit, filter, filters));
  }

  function choose(number, filter) {
    const block = blocks[number], {layer} = block, channels = channelsOf(block);
    const isNew = !chosen || chosen.block !== block || chosen.filter !== filter;
    const channel = chosen?.block === block ? chosen.channel : 0;
    chosen = {block, filter, channel};
    blocks.forEach((each, index) => each.canvases.forEach((canvas, other) =>
      canvas.parentElement.setAttribute("aria-pressed", index === number && other === filter)));
    byId("chosen").hidden = false;
    block.element.append(byId("chosen"));
    byId("chosen-heading").textContent = `Feature map ${filter + 1} of convolution ${number + 1}`;
    byId("channel-count").textContent = number === 0 ? "red, green and blue"
      : `${channels} channels, the maps of convolution ${number}`;
    byId("map-caption").textContent =
      `After bias and ReLU, ${layer.shape[0]} x ${layer.shape[1]}`;

    const limit = strongest(layer.kernel);
    byId("channels").replaceChildren(...Array.from({length: channels}, (_, channel) => {
      const canvas = element("canvas");
      drawNumbers(canvas, layer.kernel_size, layer.kernel_size,
                  kernelOf(block, filter, channel), limit);
      const button = element("button", {type: "button"}, canvas, channelName(channel),
                             element("br"), element("span"));
      button.addEventListener("click", () => {
        chosen.channel = channel;
        explain();
      });
      return button;
    }));

    const sendable = number === 0 && [3, 5].includes(layer.kernel_size) && layer.stride <= 2;
    byId("send").replaceChildren(...(sendable ? ["Send to the kernel part: ", ...COLOURS.map(
      (colour, channel) => {
        const button = element("button", {type: "button", textContent: colour});
        button.addEventListener("click", () => {
          sendKernel({kernel: kernelOf(block, filter, channel), channel: colour, padding: "valid",
                      stride: layer.stride, relu: false, pooling: false});
        });
        return button;
      })] : []));
    byId("send-note").textContent = !sendable ? "" : "Only the weights go there: the scaling of " +
      "the pixels and the bias stay behind, so its numbers are not those of this map.";
    if (isNew) {
      place.row = clamp(layer.shape[0] >> 1, layer.shape[0]);
      place.column = clamp(layer.shape[1] >> 1, layer.shape[1]);
    }
    explain();
  }

  const channelsOf = ({index}) => outputs[index - 1].shape[2];
  const channelName = (channel) =>
    chosen.block === blocks[0] ? COLOURS[channel] : `${channel + 1}`;

  // One channel of one kernel, row after row.
  function kernelOf(block, filter, channel) {
    const {kernel, kernel_size: size, shape} = block.layer, channels = channelsOf(block);
    return Array.from({length: size * size}, (_, index) =>
      kernel[(index * channels + channel) * shape[2] + filter]);
  }

  // At the window's place in the chosen map: the products of every channel and their sums.
  function atPlace() {
    const {block, filter} = chosen, {kernel_size: size, stride, shape} = block.layer;
    const input = outputs[block.index - 1], [, columns, channels] = input.shape;
    const bias = block.biasRelu.bias[filter], sums = [], windows = [];
    for (let channel = 0; channel < channels; channel++) {
      const kernel = kernelOf(block, filter, channel), numbers = kernel.map((_, index) => {
        const row = place.row * stride + Math.floor(index / size);
        const column = place.column * stride + index % size;
        return input.values[(row * columns + column) * channels + channel];
      });
      windows.push({kernel, numbers, products: kernel.map((weight, i) => weight * numbers[i])});
      sums.push(windows.at(-1).products.reduce((sum, product) => sum + product, 0));
    }
    const sum = sums.reduce((total, each) => total + each, 0);
    const response = outputs[block.index].values[
      (place.row * shape[1] + place.column) * shape[2] + filter];
    return {...place, windows, sums, sum, response, bias, activation: Math.max(0, sum + bias)};
  }

  function explain() {
    frameReceptiveField();
    if (!chosen) {
      return;
    }
    const {block, filter, channel} = chosen, {kernel_size: size, shape} = block.layer;
    const maps = mapsOf(block, "relu");
    drawNumbers(byId("map").querySelector("canvas"), shape[0], shape[1], maps.values,
                strongest(maps.values), filter, shape[2]);
    frame(byId("map"), place.row, place.column, 1, 1);
    const {windows, sums, sum, bias, activation} = atPlace();
    [...byId("channels").children].forEach((button, index) => {
      button.lastElementChild.textContent = textOf(sums[index], 3);
      button.setAttribute("aria-pressed", index === channel);
    });
    for (const name of document.querySelectorAll(".channel")) {
      name.textContent = channelName(channel);
    }
    const {kernel, numbers, products} = windows[channel];
    const grids = [["map-window", numbers, strongest(numbers)],
                   ["map-kernel", kernel, strongest(block.layer.kernel)],
                   ["map-products", products, Math.max(...products.map(Math.abs)) || 1]];
    for (const [id, values, limit] of grids) {
      fillGrid(byId(id), size, size, (i, j) => ({
        text: textOf(values[i * size + j], 3), colour: colourOf(values[i * size + j], limit)}));
    }
    byId("map-sum").textContent = `Row ${place.row + 1}, column ${place.column + 1}: the sums of ` +
      `${sums.length} channels add up to ${textOf(sum)}. With the bias ${textOf(bias)} that is ` +
      `${textOf(sum + bias)}; after ReLU ${textOf(activation)}.`;
    byId("map-after").textContent = block.pooling ? poolingText(maps) : "";
  }

  function poolingText({values}) {
    const {block, filter} = chosen, [rows, columns, filters] = block.layer.shape;
    const row = place.row - place.row % 2, column = place.column - place.column % 2;
    if (row + 1 >= rows || column + 1 >= columns) {
      return "Pooling: this last row or column is in no block of 2x2.";
    }
    const four = [0, 1].flatMap((i) => [0, 1].map((j) =>
      values[((row + i) * columns + column + j) * filters + filter]));
    const isMax = block.pooling.type === "MaxPool";
    const pooled = isMax ? Math.max(...four) : four.reduce((sum, each) => sum + each) / 4;
    return `Pooling: ${isMax ? "the largest" : "the mean"} of ` +
      `${four.map((value) => textOf(value)).join(", ")} is ${textOf(pooled)}.`;
  }

  // Frame the cover or, without one, the part of the input that the window is computed from.
  function frameReceptiveField() {
    const box = byId("input").querySelector(".window"), covering = byId("cover").checked;
    box.hidden = !covering && !chosen;
    if (covering) {
      frame(byId("input"), square.row, square.column, square.size, square.size);
    } else if (chosen) {
      let {row, column} = place, rows = 1, columns = 1;
      for (let index = chosen.block.index; index > 0; index--) {
        const {type, kernel_size: size, stride} = network.layers[index];
        const [by, reach] = type === "Conv2D" ? [stride, size]
          : type.endsWith("Pool") ? [2, 2] : [1, 1];
        [row, column] = [row * by, column * by];
        [rows, columns] = [(rows - 1) * by + reach, (columns - 1) * by + reach];
      }
      frame(byId("input"), row, column, rows, columns);
    }
  }

  // ---- the other layers ------------------------------------------------------------------

  // The activations of each hidden layer: a square a unit, 32 to a row.
  function makeUnits() {
    layers.forEach((layer, index) => {
      if (layer.type !== "Dense" || layer === network.layers.at(-1)) {
        return;
      }
      const units = layer.shape[0], columns = Math.min(32, units);
      const text = element("p", {className: "note", id: `units-${index}`});
      const stage = element("div", {className: "stage", tabIndex: 0},
                            element("canvas"), element("div", {className: "window"}));
      stage.setAttribute("role", "application");
      stage.setAttribute("aria-describedby", text.id);
      stage.setAttribute("aria-label", `The activations of a layer of ${units} units. Arrow keys ` +
                                       "move from unit to unit.");
      layer.unit = 0;
      layer.explain = () => {
        const {values} = outputs[index], above = values.filter((value) => value > 0).length;
        frame(stage, Math.floor(layer.unit / columns), layer.unit % columns, 1, 1);
        text.textContent = `${above} of ${units} are above 0. Unit ${layer.unit + 1}: ` +
          `${textOf(values[layer.unit])}.`;
      };
      layer.draw = () => {
        const rows = Math.ceil(units / columns), values = new Float32Array(rows * columns);
        values.set(outputs[index].values);
        drawNumbers(stage.querySelector("canvas"), rows, columns, values, strongest(values));
        layer.explain();
      };
      const choose = (unit) => {
        layer.unit = clamp(unit, units);
        layer.explain();
      };
      follow(stage, (row, column) => choose(row * columns + column),
             (rows, across) => choose(layer.unit + rows * columns + across));
      byId("hidden-layers").append(element("div", {className: "units"},
        element("h3", {textContent: `Hidden layer of ${units} units`}), stage, text));
    });
  }

  const drawUnits = () => network.layers.forEach((layer) => layer.draw?.());

  function showFacts() {
    const {name, dtype, tta, classes} = network;
    byId("network-heading").textContent = `Your network: ${name}`;
    byId("network-facts").textContent =
      `It tells ${classes[0]} from ${classes[1]}. Its kernels are rounded to float16; all else ` +
      "is float32." +
      (dtype === "float32" ? "" : ` (It was trained in ${dtype}, which is less exact.)`) +
      (tta ? " The probability is the mean of that of the picture and of its mirror image; the " +
             "maps are those of the picture." : "") +
      (unknown ? ` This page cannot compute the layer ${unknown.name} (${unknown.type}): it shows ` +
                 "the layers before it and, for the picture that it was made with, the " +
                 "prediction that TensorFlow computed." : "");
    byId("input-size").textContent = `${height} x ${width} pixels (height x width)`;
    byId("layers").tBodies[0].replaceChildren(...network.layers.map(
      ({name, shape, weights}) => element("tr", {}, ...[
        name, shape.join(" x "), weights.toLocaleString("en")].map(
        (textContent) => element("td", {textContent})))));
  }

  function moveCover(row, column) {
    square.row = clamp(row, height - square.size + 1);
    square.column = clamp(column, width - square.size + 1);
    compute();
  }

  function moveWindow(row, column) {
    const [rows, columns] = chosen.block.layer.shape;
    place.row = clamp(row, rows);
    place.column = clamp(column, columns);
    explain();
  }

  byId("with-network").hidden = false;
  byId("cover").disabled = Boolean(unknown);
  byId("cover").addEventListener("change", () => {
    byId("input").classList.toggle("covering", byId("cover").checked);
    moveCover((height - square.size) >> 1, (width - square.size) >> 1);
    say(byId("probability").textContent);
  });
  const covering = () => byId("cover").checked;
  follow(byId("input"), (row, column) => covering() &&
    moveCover(row - (square.size >> 1), column - (square.size >> 1)),
    (rows, columns) => covering() && moveCover(square.row + rows, square.column + columns),
    covering);
  follow(byId("map"), moveWindow, (rows, columns) =>
    moveWindow(place.row + rows, place.column + columns));
  showFacts();
  makeMaps();
  makeUnits();

  return {show, choose, moveWindow, moveCover, atPlace, timings, square, isWhole: !unknown,
          probability: () => probability,
          label: () => probability === null ? null : labelOf(network, probability),
          outputs: () => outputs, input: () => uncovered,
          showComparison(text) { byId("comparison").textContent = text; }};
}
