"use strict";
// The way through a network: a strip of its steps, the feature maps of the one that is chosen, and
// what one of them looks at.

const COLOURS = ["red", "green", "blue"];
const FEW_MAPS = 12, FEW_CHANNELS = 3;  // that are shown at first
const FIRST_SHOWN = {stage: "last", sort: "effect", all: false};  // of the maps of a convolution

// layers: those that are computed; now: what the page shows, see network_part.js. sendKernel(
// settings) shows a kernel in the kernel part; switchMap(layer, map, off) switches a map on or off;
// opened() is called when another step is shown; effectsOf(block) is null until they are known.
function startMaps(network, layers, now, {sendKernel, switchMap, opened, effectsOf}) {
  const blocks = findBlocks(), steps = [];
  const isWhole = layers.length === network.layers.length;
  const place = {row: 0, column: 0};  // of the window, in the chosen map's response
  let chosen = null;                  // {block, filter, channel}
  let open = null;                    // the step that is shown
  let allChannels = false, hiddenSteps = 0;

  // Each convolution with the layers after it: bias and ReLU, and pooling, in either order. One
  // whose bias and ReLU are not computed here is left out.
  function findBlocks() {
    const made = [];
    layers.forEach((layer, index) => {
      if (layer.type === "Conv2D") {
        made.push({index, layer, last: index, ...FIRST_SHOWN});
      } else if (made.length && made.at(-1).last === index - 1 &&
                 ["BiasRelu", "MaxPool", "AveragePool"].includes(layer.type)) {
        made.at(-1).last = index;
        made.at(-1)[layer.type === "BiasRelu" ? "biasRelu" : "pooling"] = layer;
        if (layer.type === "BiasRelu") {
          made.at(-1).reluIndex = index;
        }
      }
    });
    return made.filter(({biasRelu}) => biasRelu);
  }

  // The numbers of a block's maps at a stage: "response", "relu" (then bias and ReLU), or "last".
  function mapsOf(block, stage) {
    const response = now.outputs[block.index];
    if (stage === "response") {
      return response;
    } else if (stage === "last") {
      return now.outputs[block.last];
    }  // max pooling comes before bias and ReLU: the same numbers for less work
    const maps = computeLayer({...block.biasRelu, shape: response.shape}, response);
    silence(maps, block.reluIndex, now.off);
    return maps;
  }

  // ---- the strip ---------------------------------------------------------------------------

  // A step of the strip: a button with a picture, its name and its shapes. draw(canvas) draws the
  // picture; panel: what is shown below when the step is chosen; show() fills it.
  function addStep(title, shapes, panel, draw, show = () => {}) {
    const canvas = element("canvas");
    const button = element("button", {type: "button"}, canvas, element("b", {textContent: title}),
                           ...shapes.map((text) => element("span", {textContent: text})));
    button.setAttribute("aria-pressed", "false");
    const step = {button, panel, show, draw: () => draw(canvas)};
    button.addEventListener("click", () => openStep(step));
    panel.classList.add("block");
    panel.hidden = true;
    byId("strip").append(button);
    byId("steps").append(panel);
    steps.push(step);
    return step;
  }

  function openStep(step) {
    open = step;
    for (const each of steps) {
      each.button.setAttribute("aria-pressed", each === step);
      each.panel.hidden = each !== step;
    }
    if (chosen && chosen.block.step !== step) {
      chosen = null;
      byId("chosen").hidden = true;
    }
    if (now.outputs) {
      step.show();
    }
    makeToolbar(byId("strip"));
    opened();
  }

  const shapeOf = ({shape}) => shape.join(" x ");

  function makeSteps() {
    makeInputStep();
    blocks.forEach(makeBlockStep);
    layers.forEach((layer, index) => {
      if (layer.type === "Dense" && layer !== network.layers.at(-1)) {
        makeHiddenStep(layer, index);
      }
    });
    if (!isWhole) {
      const left = network.layers.slice(layers.length);
      addStep("Not computed here", left.map((layer) => `${layer.name} ${shapeOf(layer)}`),
              element("p", {textContent: "See \u201cAll layers\u201d below for why."}), () => {});
    } else {
      addStep("Prediction", [`left: ${network.classes[0]}`, `right: ${network.classes[1]}`],
              element("p", {textContent: "\u201cThe decision\u201d above shows how the last " +
                "hidden layer becomes the logit, and the logit the probability."}),
              (canvas) => drawNumbers(canvas, 1, 2, [now.probability, now.probability - 1], 1));
    }
    if (!blocks.length) {
      byId("steps").append(element("p", {textContent: "This network has no convolution: there " +
        "are no kernels and no feature maps to show."}));
    }
  }

  function makeInputStep() {
    const [height, width] = network.input_size;
    const canvases = COLOURS.map(() => element("canvas"));
    const panel = element("div", {},
      element("h4", {textContent: `The picture as numbers: ${height} x ${width} pixels, each ` +
                                  "red, green and blue"}),
      element("p", {className: "note", textContent: "Scaled as the network was trained: less " +
        "the mean over its training images, divided by their standard deviation."}),
      element("div", {className: "gallery three"}, ...canvases.map((canvas, index) =>
        element("figure", {}, canvas, element("figcaption", {textContent: COLOURS[index]})))));
    addStep("Picture", [`${height} x ${width} x 3`], panel,
            (canvas) => drawPicture(canvas, now.picture),
            () => canvases.forEach((canvas, channel) => drawNumbers(
              canvas, height, width, now.outputs[0].values, strongest(now.outputs[0].values),
              channel, 3)));
  }

  // ---- the maps of a convolution -------------------------------------------------------------

  function makeBlockStep(block, number) {
    const {kernel_size: size, stride} = block.layer;
    const [rows, columns, filters] = network.layers[block.last].shape;
    const select = (key, options) => {
      const made = element("select", {}, ...Object.entries(options).map(
        ([value, textContent]) => element("option", {value, textContent})));
      made.addEventListener("change", () => {
        block[key] = made.value;
        sortMaps(block);
        drawMaps(block);
      });
      return made;
    };
    block.number = number;
    block.gallery = element("div", {className: "gallery"});
    block.gallery.setAttribute("role", "toolbar");
    block.gallery.setAttribute("aria-label", `The feature maps of convolution ${number + 1}`);
    block.buttons = [];
    block.note = element("p", {className: "note"});
    block.more = element("button", {type: "button", hidden: filters <= FEW_MAPS});
    block.more.addEventListener("click", () => {
      block.all = !block.all;
      drawMaps(block);
    });
    block.bar = element("div", {className: "colour-bar"});
    block.element = element("div", {},
      element("h4", {textContent: `Convolution ${number + 1}: ${filters} feature maps of ` +
                                  `${rows} x ${columns}`}),
      element("div", {className: "row"},
        element("label", {}, "shown: ", select("stage", {
          last: block.pooling ? "after ReLU and pooling" : "after ReLU",
          ...(block.pooling ? {relu: "after ReLU"} : {}),
          response: "the response, before bias and ReLU"})),
        element("label", {}, "first: ", select("sort", {
          effect: "those that the prediction needs most", strength: "the strongest",
          number: "number 1"})),
        element("span", {className: "note", textContent:
          `${size} x ${size} kernels, stride ${stride}. Choose a map to see what it looks at.`})),
      block.note, block.gallery, block.bar, block.more);
    const shapes = network.layers.slice(block.index, block.last + 1).map(
      (layer) => layer.type === "BiasRelu" ? "bias and ReLU"
        : `${layer.type === "Conv2D" ? `${filters} maps` : "pooling"}: ${layer.shape[0]} x ` +
          layer.shape[1]);
    block.step = addStep(`Convolution ${number + 1}`, shapes, block.element,
                         (canvas) => drawMap(canvas, mapsOf(block, "last"),
                                             strongestMap(mapsOf(block, "last"))),
                         () => {
                           sortMaps(block);
                           drawMaps(block);
                         });
  }

  const drawMap = (canvas, {shape: [rows, columns, filters], values}, filter, limit) =>
    drawNumbers(canvas, rows, columns, values, limit ?? strongest(values), filter, filters);

  // The mean of the absolute numbers of each map.
  function strengthsOf({shape, values}) {
    const sums = new Float64Array(shape[2]);
    values.forEach((value, index) => { sums[index % sums.length] += Math.abs(value); });
    return sums;
  }

  function strongestMap(maps) {
    const strengths = strengthsOf(maps);
    return strengths.indexOf(Math.max(...strengths));
  }

  // By how much the probability changes without each map or, while that is not known, null.
  const changesOf = (block) =>
    effectsOf(block)?.map((probability) => probability - now.uncovered) ?? null;

  function sortMaps(block) {
    const changes = changesOf(block), filters = block.layer.shape[2];
    const keys = block.sort === "number" ? null
      : block.sort === "effect" && changes ? changes.map(Math.abs)
        : strengthsOf(mapsOf(block, "last"));
    block.order = Array.from({length: filters}, (_, filter) => filter);
    if (keys) {
      block.order.sort((one, another) => keys[another] - keys[one]);
    }
  }

  // The button of a map, made when it is shown for the first time.
  function buttonOf(block, filter) {
    if (!block.buttons[filter]) {
      const button = element("button", {type: "button"}, element("canvas"), `${filter + 1}`,
                             element("span"));
      button.dataset.map = filter;
      button.addEventListener("click", () => show(block.number, filter));
      block.buttons[filter] = button;
    }
    return block.buttons[filter];
  }

  function drawMaps(block) {
    const maps = mapsOf(block, block.stage), filters = maps.shape[2], changes = changesOf(block);
    const limit = strongest(maps.values);  // one for all maps of the layer: they can be compared
    const shown = block.all ? block.order : block.order.slice(0, FEW_MAPS);
    const buttons = shown.map((filter) => buttonOf(block, filter));
    const [name] = network.classes;
    buttons.forEach((button, index) => {
      const filter = shown[index], change = changes && `${changes[filter] > 0 ? "+" : ""}${
        textOf(100 * changes[filter], 2)}`;  // of a sure prediction it is very small
      const isOff = now.off.some(({layer, map}) => layer === block.reluIndex && map === filter);
      drawMap(button.firstChild, maps, filter, limit);
      button.lastChild.textContent = isOff ? "off" : change ?? (isWhole ? "\u2026" : "");
      button.setAttribute("aria-pressed", chosen?.block === block && chosen.filter === filter);
      button.setAttribute("aria-label", `Feature map ${filter + 1}` + (isOff ? ", switched off"
        : change ? `; without it ${name} changes by ${change} percentage points` : ""));
    });
    if (buttons.some((button, index) => block.gallery.children[index] !== button) ||
        buttons.length !== block.gallery.children.length) {
      block.gallery.replaceChildren(...buttons);
    }
    makeToolbar(block.gallery);
    drawColourBar(block.bar, limit);
    block.more.textContent = block.all ? `Show ${FEW_MAPS} only` : `Show all ${filters}`;
    block.note.textContent = isWhole ? "Below each map: by how many percentage points the " +
      `probability of ${name} changes without it.` : "";
  }

  // Other numbers, of another picture or with other maps switched off. isNew: a new picture, whose
  // maps have a new order.
  function draw(isNew) {
    steps.forEach((step) => step.draw());
    const block = chosen?.block ?? blocks.find(({step}) => step === open);
    if (block && !(isNew && !chosen)) {
      block.order ?? sortMaps(block);
      drawMaps(block);
    } else {
      open?.show();
    }
    explain();
  }

  // ---- the chosen map ------------------------------------------------------------------------

  const STAGES = {response: "response", relu: "after bias and ReLU", last: "after pooling"};
  const mapStages = Object.entries(STAGES).map(([stage, caption], index) => {
    const box = makeStage(`The feature map, ${caption}. Arrow keys move the window.`, "map-sum");
    box.id = index === 0 ? "map" : `map-${stage}`;
    if (index > 0) {  // one of the three takes the keys for all
      box.tabIndex = -1;
    }
    const text = element("figcaption"), figure = element("figure", {}, text, box);
    byId("map-stages").append(figure);
    return {stage, caption, box, text, figure};
  });

  function choose(number, filter) {
    const block = blocks[number], {layer} = block;
    if (open !== block.step) {
      openStep(block.step);
    }
    const isNew = !chosen || chosen.block !== block || chosen.filter !== filter;
    chosen = {block, filter, channel: null};
    if (!block.all && !block.order.slice(0, FEW_MAPS).includes(filter)) {
      block.all = true;
    }
    byId("chosen").hidden = false;
    block.element.append(byId("chosen"));
    byId("chosen-heading").textContent = `Feature map ${filter + 1} of convolution ${number + 1}`;
    const sendable = number === 0 && [3, 5].includes(layer.kernel_size) && layer.stride <= 2;
    byId("send").replaceChildren(...(sendable ? ["Send to the kernel part: ", ...COLOURS.map(
      (colour, channel) => {
        const button = element("button", {type: "button", textContent: colour});
        button.addEventListener("click", () => sendKernel(kernelForPixels(block, filter, channel)));
        return button;
      })] : []));
    byId("send-note").textContent = !sendable ? "" : "It goes there with the network's input and " +
      "with the scaling of the pixels, as weights and a bias: B is what this one colour " +
      "contributes to the response.";
    if (isNew) {
      place.row = layer.shape[0] >> 1;
      place.column = layer.shape[1] >> 1;
    }
    drawMaps(block);
    explain();
  }

  // A channel of a first kernel for pixels that are not scaled: w (x - mean) / std is a weight of
  // w / std, and for all weights together a bias.
  function kernelForPixels(block, filter, channel) {
    const {mean, std} = network.layers[0], weights = kernelOf(block, filter, channel);
    const kernel = weights.map((weight) => weight / std[channel]);
    return {kernel, bias: -mean[channel] * kernel.reduce((sum, weight) => sum + weight, 0),
            channel: COLOURS[channel], padding: "valid", stride: block.layer.stride, relu: false,
            pooling: false};
  }

  const channelsOf = ({index}) => now.outputs[index - 1].shape[2];
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
    const input = now.outputs[block.index - 1], [, columns, channels] = input.shape;
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
    const response = now.outputs[block.index].values[
      (place.row * shape[1] + place.column) * shape[2] + filter];
    return {...place, windows, sums, sum, response, bias, activation: Math.max(0, sum + bias)};
  }

  function explain() {
    if (!chosen) {
      return;
    }
    const {block, filter} = chosen, {kernel_size: size, stride} = block.layer;
    const {windows, sums, sum, bias, activation} = atPlace();
    drawPicture(byId("field").querySelector("canvas"), now.picture);
    frameReceptiveField();
    for (const {stage, caption, box, text, figure} of mapStages) {
      figure.hidden = stage === "last" && !block.pooling;
      const maps = mapsOf(block, stage), by = stage === "last" && block.pooling ? 2 : 1;
      const [rows, columns] = maps.shape, limit = strongest(maps.values);
      const isShown = block.stage === stage || (block.stage === "last" && stage === "relu" &&
                                                !block.pooling);
      drawMap(box.querySelector("canvas"), maps, filter, limit);
      frame(box, clamp(Math.floor(place.row / by), rows),
            clamp(Math.floor(place.column / by), columns), 1, 1);
      figure.classList.toggle("as-above", isShown);
      text.textContent = `${isShown ? "As above: " : ""}${caption}, ${rows} x ${columns}`;
    }
    showChannels(windows, sums);
    const {channel} = chosen, {kernel, numbers, products} = windows[channel];
    for (const name of document.querySelectorAll(".channel")) {
      name.textContent = channelName(channel);
    }
    const grids = [["map-window", numbers, strongest(numbers)],
                   ["map-kernel", kernel, strongest(block.layer.kernel)],
                   ["map-products", products, Math.max(...products.map(Math.abs)) || 1]];
    for (const [id, values, limit] of grids) {
      fillGrid(byId(id), size, size, (i, j) => ({
        text: textOf(values[i * size + j], 3), colour: colourOf(values[i * size + j], limit)}));
    }
    byId("map-cell").textContent = textOf(sums[channel], 3);
    byId("map-sum").textContent = `Row ${place.row + 1}, column ${place.column + 1}: the sums of ` +
      `${sums.length} channels add up to ${textOf(sum)}. With the bias ${textOf(bias)} that is ` +
      `${textOf(sum + bias)}; after ReLU ${textOf(activation)}.`;
    byId("map-after").textContent = block.pooling ? poolingText(mapsOf(block, "relu")) : "";
    showSwitch();
  }

  function showSwitch() {
    const {block, filter} = chosen, changes = changesOf(block), [name] = network.classes;
    const isOff = now.off.some(({layer, map}) => layer === block.reluIndex && map === filter);
    byId("switch-off").setAttribute("aria-pressed", isOff);
    byId("switch-off").textContent = isOff ? "Switch this map on again" : "Switch this map off";
    byId("switch-off").hidden = !isWhole;
    const shown = (probability) => percent(probability, 3);
    byId("effect").textContent = isOff ? `The probability of ${name} is now ${shown(now.uncovered)}` +
        (now.withAll === null ? "." : `, with all maps switched on ${shown(now.withAll)}.`)
      : changes ? `Without it the probability of ${name} would be ` +
        `${shown(now.uncovered + changes[filter])}, not ${shown(now.uncovered)}.` : "";
  }

  // The kernel's channels, the largest sums first, each with the map that it looks at. While the
  // focus is among them they keep their places.
  function showChannels(windows, sums) {
    const {block, filter} = chosen, {layer} = block, {kernel_size: size} = layer;
    const box = byId("channels"), limit = strongest(layer.kernel);
    const input = now.outputs[block.index - 1], inputLimit = strongest(input.values);
    const order = sums.map((_, channel) => channel).sort(
      (one, another) => Math.abs(sums[another]) - Math.abs(sums[one]));
    const shown = box.contains(document.activeElement) && box.shown?.filter === filter
      ? box.shown.order : order.slice(0, allChannels ? order.length : FEW_CHANNELS);
    chosen.channel ??= order[0];
    while (box.children.length > shown.length) {
      box.lastChild.remove();
    }
    shown.forEach((channel, index) => {
      let button = box.children[index];
      if (!button) {
        button = element("button", {type: "button"}, element("canvas"), element("canvas"),
                         element("span"), element("b"));
        button.addEventListener("click", () => {
          chosen.channel = Number(button.dataset.channel);
          explain();
        });
        box.append(button);
      }
      const [kernel, map, name, sum] = button.children;
      button.dataset.channel = channel;
      drawNumbers(kernel, size, size, windows[channel].kernel, limit);
      drawMap(map, input, channel, inputLimit);
      name.textContent = channelName(channel);
      sum.textContent = textOf(sums[channel], 3);
      button.setAttribute("aria-pressed", channel === chosen.channel);
    });
    box.shown = {filter, order: shown};
    makeToolbar(box);
    byId("channel-count").textContent = block === blocks[0] ? "Its kernel: red, green and blue"
      : `Its kernel: ${sums.length} channels`;
    byId("channel-words").textContent = "Left the weights, right what they look at, below the sum " +
      "of the products here. The largest come first.";
    byId("all-channels").hidden = sums.length <= FEW_CHANNELS;
    byId("all-channels").textContent = allChannels ? `Show ${FEW_CHANNELS} only`
      : `Show all ${sums.length}`;
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

  // Frame the part of the input that the window is computed from.
  function frameReceptiveField() {
    let {row, column} = place, rows = 1, columns = 1;
    for (let index = chosen.block.index; index > 0; index--) {
      const {type, kernel_size: size, stride} = network.layers[index];
      const [by, reach] = type === "Conv2D" ? [stride, size]
        : type.endsWith("Pool") ? [2, 2] : [1, 1];
      [row, column] = [row * by, column * by];
      [rows, columns] = [(rows - 1) * by + reach, (columns - 1) * by + reach];
    }
    frame(byId("field"), row, column, rows, columns);
  }

  // Choose a map and move there.
  function show(number, filter) {
    choose(number, filter);
    byId("chosen-heading").focus({preventScroll: true});
    byId("chosen").scrollIntoView({block: "nearest"});
  }

  function moveWindow(row, column) {
    const [rows, columns] = chosen.block.layer.shape;
    place.row = clamp(row, rows);
    place.column = clamp(column, columns);
    explain();
  }

  // ---- the hidden layers ---------------------------------------------------------------------

  function makeHiddenStep(layer, index) {
    const units = unitsStage(layer.shape[0], "The activations of the hidden layer",
      (unit) => {
        const {values} = now.outputs[index], above = values.filter((value) => value > 0).length;
        return `${above} of ${values.length} are above 0. Unit ${unit + 1}: ` +
          `${textOf(values[unit])}.`;
      });
    const panel = element("div", {},
      element("h4", {textContent: `Hidden layer of ${layer.shape[0]} units`}),
      element("div", {className: "units"}, units.stage, units.text));
    hiddenSteps += 1;
    addStep(`Hidden layer ${hiddenSteps}`, [`${layer.shape[0]} units`], panel,
            (canvas) => units.drawOn(canvas, now.outputs[index].values),
            () => units.draw(now.outputs[index].values));
  }

  const hold = makeHold(mapStages.map(({box}) => box), byId("map-held"));
  for (const {stage, box} of mapStages) {
    const by = () => stage === "last" && chosen.block.pooling ? 2 : 1;
    follow(box, (row, column) => moveWindow(row * by(), column * by()),
           (rows, columns) => moveWindow(place.row + rows, place.column + columns), {hold});
  }
  byId("switch-off").addEventListener("click", () => {
    const {block, filter} = chosen;
    switchMap(block.reluIndex, filter, byId("switch-off").getAttribute("aria-pressed") !== "true");
  });
  byId("all-channels").addEventListener("click", () => {
    allChannels = !allChannels;
    explain();
  });
  makeSteps();
  openStep(steps[Math.min(1, steps.length - 1)]);

  return {draw, choose, show, moveWindow, atPlace, blocks,
          openBlock: () => blocks.find(({step}) => step === open),
          showEffects(block) {
            if (!block.gallery.contains(document.activeElement) && chosen?.block !== block) {
              sortMaps(block);
            }
            drawMaps(block);
            if (chosen) {
              showSwitch();
            }
          },
          nameOf: ({layer, map}) => `convolution ${
            1 + blocks.findIndex(({reluIndex}) => reluIndex === layer)}, map ${map + 1}`,
          reset() {
            hold.set(false);
            allChannels = false;
            blocks.forEach((block) => Object.assign(block, FIRST_SHOWN));
            byId("steps").querySelectorAll("select").forEach((each) => { each.selectedIndex = 0; });
            openStep(steps[0]);  // which closes the map that is chosen
            openStep(steps[Math.min(1, steps.length - 1)]);
          },
          address: () => chosen ? `&layer=${chosen.block.number + 1}&map=${chosen.filter + 1}` +
            `&maprow=${place.row}&mapcolumn=${place.column}` : ""};
}

// The numbers of so many units as squares, a window over one of them, and a sentence about it:
// textOfUnit(unit). draw(values) shows numbers, drawOn draws them on another canvas.
function unitsStage(units, label, textOfUnit) {
  const columns = Math.max(Math.min(32, units), Math.ceil(Math.sqrt(units)));
  const rows = Math.ceil(units / columns);
  const text = element("p", {className: "note", id: `units-${unitsStage.count++}`});
  const stage = makeStage(`${label}, of ${units} units. Arrow keys move from unit to unit.`,
                          text.id);
  let unit = 0;
  const explain = () => {
    frame(stage, Math.floor(unit / columns), unit % columns, 1, 1);
    text.textContent = textOfUnit(unit);
  };
  const choose = (chosen) => {
    unit = clamp(chosen, units);
    explain();
  };
  const drawOn = (canvas, numbers) => {
    const values = new Float32Array(rows * columns);
    values.set(numbers);
    const limit = strongest(values);
    drawNumbers(canvas, rows, columns, values, limit);
    return limit;
  };
  follow(stage, (row, column) => choose(row * columns + column),
         (rows, across) => choose(unit + rows * columns + across),
         {hold: {held: false, set() {}}});
  return {stage, text, choose, drawOn,
          draw(values) {
            const limit = drawOn(stage.querySelector("canvas"), values);
            explain();
            return limit;
          }};
}
unitsStage.count = 1;
