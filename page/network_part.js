"use strict";
// The second part of the page: a trained network, computed for the picture shown. Its prediction
// and how it is decided; why_part.js and maps_part.js show the rest.

// network: see compose.py; sendKernel(settings, input) shows a kernel in the first part, and
// changed() is called when a map is switched. Returns what the rest of the page uses of it.
function startNetworkPart(network, {sendKernel, changed}) {
  readKernels(network);
  const layers = computedLayers(network), unknown = network.layers[layers.length];
  const [height, width] = network.input_size, [name] = network.classes;
  const square = {row: 0, column: 0, size: coverSize(network)}, timings = {};
  // What the page shows: the network's input, the same perhaps with a cover, a finer picture of it,
  // the outputs of all layers, the feature maps that are switched off, the logits of the picture
  // and of its mirror image, and the probability: as it is shown, without the cover, and also with
  // all maps switched on, where that is known.
  const now = {input: null, picture: null, photo: null, outputs: null, off: [], logits: [],
               probability: null, uncovered: null, withAll: null};
  let byTensorFlow = null;
  let why = null;  // once a picture is shown: to start workers takes a moment

  const maps = startMaps(network, layers, now, {
    sendKernel: (settings) => sendKernel(settings, now.input), switchMap,
    opened: () => why?.askEffects(), effectsOf: (block) => why?.effects(block) ?? null});
  const learning = network.learning && startLearning(
    network, now, (kernel) => maps.show(0, kernel));

  // ---- computing -------------------------------------------------------------------------

  // input: a picture at the size of the network's input; photo: the same, as it is to be seen;
  // known: the probability that TensorFlow computed for this picture, if it did. The promise
  // resolves when the prediction is on the screen.
  async function show(input, photo, known = null) {
    const started = performance.now();
    why?.stop();
    [now.input, now.photo, now.withAll, byTensorFlow] = [input, photo, null, known];
    predict(true);
    timings.classified = await untilShown(started);
  }

  // All that explains the prediction, once it is on the screen.
  function explain() {
    showDecision(true);
    maps.draw(true);
    learning?.draw();
    explainWhy();
  }

  function compute(isNew = false) {
    predict(isNew);
    showDecision(isNew);
    maps.draw(isNew);
    learning?.draw();
  }

  // The prediction, which is what one wants to see first.
  function predict(isNew) {
    const started = performance.now(), covering = byId("cover").checked;
    now.picture = covering ? cover(now.input, square.row, square.column, square.size) : now.input;
    now.outputs = activationsOf(network, now.picture, now.off);
    now.logits = unknown ? [] : logitsOf(now.picture, now.outputs);
    now.probability = unknown ? byTensorFlow : mean(now.logits.map(sigmoid));
    if (!covering) {
      now.uncovered = now.probability;
    } else if (isNew) {
      now.uncovered = mean(logitsOf(now.input, activationsOf(network, now.input, now.off))
        .map(sigmoid));
    }
    if (now.off.length === 0) {
      now.withAll = now.uncovered;
    }
    timings.computed = performance.now() - started;
    drawInput();
    showPrediction(covering);
  }

  // The logit of a picture and, with --tta, that of its mirror image.
  const logitsOf = (picture, outputs) => [
    outputs.at(-1).values[0], ...(network.tta ? [mirrorLogit(network, picture, now.off)] : [])];
  const mean = (numbers) => numbers.reduce((sum, each) => sum + each, 0) / numbers.length;

  // What takes longest.
  function explainWhy() {
    if (unknown) {
      byId("heat-figure").hidden = byId("heat-words").hidden = true;
      return;
    }
    why ??= startWhy(network, now, {openBlock: maps.openBlock, told: maps.showEffects});
    why.show();
  }

  // Switch a feature map off or on again; layer: the index of its BiasRelu.
  function switchMap(layer, map, isOff) {
    now.off = now.off.filter((each) => each.layer !== layer || each.map !== map);
    if (isOff) {
      now.off.push({layer, map});
    }
    switched();
  }

  function switched() {
    const heldFocus = document.activeElement;
    why?.stop();  // what it knows was true of the other maps
    compute(true);
    showSwitchedOff();
    explainWhy();
    const next = heldFocus?.isConnected ? heldFocus
      : byId("switched-off").querySelector("button") ?? byId("as-input");
    next.focus({preventScroll: true});
    say(byId("probability").textContent);
    changed();
  }

  // ---- the picture and the prediction ----------------------------------------------------

  function drawInput() {
    const canvas = byId("input").querySelector("canvas"), {picture, photo} = now;
    const asInput = byId("as-input").checked || !photo;
    byId("input").grid = {rows: height, columns: width};
    drawPicture(canvas, asInput ? picture : photo);
    byId("input").style.setProperty("--ratio", photo.width / photo.height);
    byId("input").classList.toggle("pixels", asInput);
    byId("input").querySelector(".window").hidden = !byId("cover").checked;
    if (byId("cover").checked) {
      frame(byId("input"), square.row, square.column, square.size, square.size);
    }
  }

  function showPrediction(covering) {
    const {probability, uncovered} = now;
    byId("bar").firstElementChild.style.width = `${100 * probability}%`;
    byId("bar").lastElementChild.style.left = `${100 * network.threshold}%`;
    if (probability === null) {
      byId("label").textContent = "";
      byId("probability").textContent = "For this picture, ask predict.py for the prediction.";
      return;
    }
    const label = labelOf(network, probability);
    const ofLabel = label === name ? probability : 1 - probability;
    byId("label").replaceChildren(label, element("span", {textContent: ` (${percent(ofLabel)})`}));
    byId("probability").textContent =
      `The probability of ${name} is ${decimals(probability)}; above the run's threshold of ` +
      `${network.threshold} it predicts ${name}.` +
      (covering ? ` Uncovered: ${decimals(uncovered)}.` : "");
  }

  // Which maps are switched off, each with a button that switches it on again.
  function showSwitchedOff() {
    const [text, row] = byId("switched-off").children, count = now.off.length;
    byId("switched-off").hidden = count === 0;
    text.textContent = count === 1 ? "Switched off, so that this is not the network's own " +
      "prediction:" : `${count} maps are switched off, so that this is not the network's own ` +
      "prediction:";
    row.replaceChildren(...now.off.map((each) => {
      const button = element("button", {type: "button", textContent: `${maps.nameOf(each)} \u00d7`});
      button.setAttribute("aria-label", `Switch ${maps.nameOf(each)} on again`);
      button.addEventListener("click", () => switchMap(each.layer, each.map, false));
      return button;
    }));
  }

  // ---- the decision ----------------------------------------------------------------------

  const last = layers.at(-1), isDense = !unknown && network.layers.some(
    (layer) => layer.type === "Dense" && layer !== last);
  const unitName = isDense ? "unit" : "number";
  const units = unknown ? null : unitsStage(
    layers.at(-2).shape[0], "What each unit of the last hidden layer adds to the logit",
    (unit) => {
      const {values, weights, contributions} = contributionsNow();
      return `${unitName[0].toUpperCase()}${unitName.slice(1)} ${unit + 1}` +
        `${unit === largestOf(contributions) ? ", which counts most" : ""}: ` +
        `${textOf(values[unit])} x ${textOf(weights[unit])} = ${textOf(contributions[unit])}` +
        (contributions[unit] === 0 ? "."
          : ` for ${network.classes[contributions[unit] > 0 ? 0 : 1]}.`);
    });

  // What every unit of the last hidden layer adds to the logit: its activation times its weight.
  function contributionsNow() {
    const {values} = now.outputs.at(-2), weights = last.kernel;
    return {values, weights, bias: last.bias[0],
            contributions: Array.from(values, (value, unit) => value * weights[unit])};
  }

  const withMinus = (number) => number.toFixed(3).replace("-", "\u2212");

  const largestOf = (contributions) => contributions.reduce((best, each, unit) =>
    Math.abs(each) > Math.abs(contributions[best]) ? unit : best, 0);

  // isNew: of another picture, of which the largest unit is named first.
  function showDecision(isNew) {
    if (unknown) {
      return;
    }
    const {contributions, bias} = contributionsNow();
    const limit = units.draw(contributions), [first, second] = network.classes;
    drawColourBar(byId("contributions-bar"), limit);
    const [left, , right] = byId("contributions-bar").querySelectorAll("span");
    left.textContent = `for ${second} (\u2212${textOf(limit, 3)} and less)`;
    right.textContent = `for ${first} (${textOf(limit, 3)} and more)`;
    const [up, down] = [1, -1].map((sign) => contributions.filter((each) => each * sign > 0));
    const [forFirst, forSecond] = [up, down].map(
      (numbers) => Math.abs(numbers.reduce((sum, each) => sum + each, 0)));
    const [logit, mirrored] = now.logits;
    // Rounded to three decimals the terms may miss the rounded sum by a thousandth: "about".
    const shown = (number) => Number(number.toFixed(3));
    const missed = shown(forFirst) - shown(forSecond) + shown(bias) - shown(logit);
    byId("logit").textContent = `logit = sum of ${unitName} \u00d7 weight + bias\n` +
      `= ${forFirst.toFixed(3)} (${up.length} ${unitName}s for ${first})\n` +
      `\u2212 ${forSecond.toFixed(3)} (${down.length} for ${second})\n` +
      `${bias < 0 ? "\u2212" : "+"} ${Math.abs(bias).toFixed(3)} (bias) ` +
      `${Math.abs(missed) < 1e-6 ? "=" : "\u2248"} ${withMinus(logit)}\n` +
      `sigmoid(${withMinus(logit)}) = ${decimals(sigmoid(logit))}` + (mirrored === undefined ? ""
        : `\nmirror image: sigmoid(${withMinus(mirrored)}) = ${decimals(sigmoid(mirrored))}\n` +
          `their mean: ${decimals(now.probability)}`);
    if (isNew) {
      units.choose(largestOf(contributions));
    }
    drawCurve();
  }

  // The sigmoid, the threshold, and a point for each logit.
  function drawCurve() {
    const [first, second] = network.classes, {threshold} = network;
    const most = Math.max(6, ...now.logits.map((logit) => Math.ceil(Math.abs(logit)) + 1));
    const x = (logit) => 200 + 180 * logit / most, y = (probability) => 190 - 170 * probability;
    const curve = Array.from({length: 91}, (_, step) => (step - 45) / 45 * most).map(
      (logit) => `${x(logit).toFixed(1)},${y(sigmoid(logit)).toFixed(1)}`).join(" ");
    const line = (kind, x1, y1, x2, y2) => svg("line", {class: kind, x1, y1, x2, y2});
    const text = (content, at, down, anchor = "start") => {
      const made = svg("text", {x: at, y: down, "text-anchor": anchor});
      made.textContent = content;
      return made;
    };
    byId("curve").replaceChildren(
      line("axis", 20, 190, 380, 190), line("axis", 200, 20, 200, 190),
      line("threshold", 20, y(threshold), 380, y(threshold)),
      svg("polyline", {class: "sigmoid", points: curve}),
      text("probability", 200, 14, "middle"), text("1", 192, 32, "end"),
      text(`threshold ${threshold}`, 22, y(threshold) - 6),
      text(`\u2212${most}`, 20, 208), text("logit 0", 200, 208, "middle"),
      text(`${most}`, 380, 208, "end"),
      text(`\u2190 ${shortened(second)}`, 20, 226),
      text(`${shortened(first)} \u2192`, 380, 226, "end"),
      ...now.logits.map((logit, index) => svg("circle", {
        class: index === 0 ? "point" : "point mirrored", cx: x(logit), cy: y(sigmoid(logit)),
        r: 8})));
    byId("curve-words").textContent = "The curve is the sigmoid. Orange: the picture, with the " +
      `logit ${withMinus(now.logits[0])} and the probability ${decimals(sigmoid(now.logits[0]))}.` +
      (now.logits.length > 1
        ? " Dashed: its mirror image, which the network is shown as well." : "");
  }

  const shortened = (text) => text.length > 16 ? `${text.slice(0, 15)}\u2026` : text;

  function svg(tag, attributes) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    return made;
  }

  // ---- the rest --------------------------------------------------------------------------

  function showFacts() {
    const {dtype, tta, classes} = network;
    byId("network-heading").textContent = `The network: ${network.name}`;
    const {trained_on: trainedOn, test} = network;
    byId("network-origin").textContent = !trainedOn ? "" : "It was trained on " +
      `${trainedOn.toLocaleString("en")} pictures` + (!test?.pictures ? "." : " and is right about " +
        `${percent(test.accuracy)} of ${test.pictures.toLocaleString("en")} others.`);
    byId("bar-words").replaceChildren(...[`0: ${classes[1]}`, `1: ${classes[0]}`].map(
      (textContent) => element("span", {textContent})));
    byId("network-facts").textContent =
      `It tells ${classes[0]} from ${classes[1]}. Its kernels are rounded to float16; all else ` +
      "is float32." +
      (dtype === "float32" ? "" : ` (It was trained in ${dtype}, which is less exact.)`) +
      (tta ? " The probability is the mean of that of the picture and of its mirror image; the " +
             "maps are those of the picture." : "") + (unknown ? ` ${whyNotWhole()}` : "");
    byId("not-whole").hidden = !unknown;
    byId("not-whole").textContent = unknown ? whyNotWhole() : "";
    byId("layers").tBodies[0].replaceChildren(...network.layers.map(
      ({name, shape, weights}) => element("tr", {}, ...[
        name, shape.join(" x "), weights.toLocaleString("en")].map(
        (textContent) => element("td", {textContent})))));
  }

  const whyNotWhole = () => (unknown.left_out
    ? `The ${unknown.weights.toLocaleString("en")} weights of the layer ${unknown.name} are too ` +
      "many for a page: it shows"
    : `This page cannot compute the layer ${unknown.name} (${unknown.type}): it shows`) +
    " the layers before it and, for the picture that it was made with, the prediction that " +
    "TensorFlow computed.";

  function moveCover(row, column) {
    square.row = clamp(row, height - square.size + 1);
    square.column = clamp(column, width - square.size + 1);
    compute();
  }

  function setCover(covering) {
    const stage = byId("input");
    byId("cover").checked = covering;
    byId("cover-words").hidden = !covering;
    stage.classList.toggle("covering", covering);
    stage.setAttribute("role", covering ? "application" : "img");
    stage.setAttribute("aria-label", covering ? "The picture. Arrow keys move the cover."
      : "The picture");
    if (covering) {
      stage.tabIndex = 0;
    } else {
      stage.removeAttribute("tabindex");  // there is nothing to do on it
    }
    moveCover((height - square.size) >> 1, (width - square.size) >> 1);
    say(byId("probability").textContent);
  }

  // What an address says of the network: its map and its switches; returns the names of what it
  // says in vain.
  function readAddress(fields) {
    const wrong = [], isIn = (number, length) => Number.isInteger(number) && number >= 0 &&
      number < length;
    const block = maps.blocks[fields.layer - 1], filter = fields.map - 1;
    if (block && isIn(filter, block.layer.shape[2])) {
      maps.choose(block.number, filter);
      if (fields.maprow !== undefined) {
        maps.moveWindow(Number(fields.maprow) || 0, Number(fields.mapcolumn) || 0);
      }
    } else if (fields.layer !== undefined || fields.map !== undefined) {
      wrong.push("layer and map");
    }
    const off = (fields.off ?? "").split(",").filter((text) => text).map((text) => {
      const [number, map] = text.split(".").map((part) => part - 1);
      const of = maps.blocks[number];
      return of && isIn(map, of.layer.shape[2]) ? {layer: of.reluIndex, map} : null;
    });
    if (off.includes(null) || (off.length && unknown)) {
      wrong.push("off");
    } else if (off.length) {
      now.off = off;
      switched();
    }
    return wrong;
  }

  const address = () => maps.address() + (now.off.length ? `&off=${now.off.map(({layer, map}) =>
    `${1 + maps.blocks.findIndex(({reluIndex}) => reluIndex === layer)}.${map + 1}`)}` : "");

  byId("with-network").hidden = false;
  byId("cover").disabled = Boolean(unknown);
  byId("decision").hidden = Boolean(unknown);
  byId("cover").addEventListener("change", () => setCover(byId("cover").checked));
  byId("as-input").addEventListener("change", drawInput);
  const covering = () => byId("cover").checked;
  follow(byId("input"), (row, column) =>
    moveCover(row - (square.size >> 1), column - (square.size >> 1)),
    (rows, columns) => moveCover(square.row + rows, square.column + columns),
    {isActive: covering});
  if (units) {
    units.text.id = "contribution";
    units.stage.setAttribute("aria-describedby", "contribution");
    byId("contribution").replaceWith(units.text);
    byId("contributions").append(units.stage);
  }
  showFacts();

  return {show, explain, moveCover, timings, square, isWhole: !unknown, address,
          readAddress, choose: maps.choose, moveWindow: maps.moveWindow, atPlace: maps.atPlace,
          reset() {
            now.off = [];
            showSwitchedOff();
            byId("as-input").checked = false;
            if (covering()) {
              setCover(false);
            }
            maps.reset();
            byId("epoch").value = byId("epoch").max;
          },
          probability: () => now.probability,
          label: () => now.probability === null ? null : labelOf(network, now.probability),
          outputs: () => now.outputs, input: () => now.input, off: () => now.off,
          switchOff: (number, map, isOff = true) =>
            switchMap(maps.blocks[number].reluIndex, map, isOff),
          decision: () => ({...contributionsNow(), logits: now.logits}),
          heat: () => why?.heat() ?? null,
          effects: (number) => {
            const effects = why?.effects(maps.blocks[number]);
            return effects ? Array.from(effects) : null;
          },
          learning, whyTimings: () => why?.timings,
          canvases: () => [byId("input"), ...(unknown ? [] : [byId("heat")])].map(
            (stage) => stage.querySelector("canvas")),
          // What is to be read below a picture of the page.
          sentences: () => [
            ...(unknown ? [] : byId("heat-words").textContent.split(/(?<=\.) /)),
            ...(now.off.length ? [`Switched off: ${now.off.map(maps.nameOf).join("; ")}.`] : [])],
          showComparison(text) { byId("comparison").textContent = text; }};
}
