"use strict";
// Why a network predicts what it does: a heat map of what it depends on, and what every
// feature map contributes to it. Workers compute both; the page stays usable meanwhile.

// A change of the probability by this much, at least, has the full colour: what hardly changes
// anything is not to shine.
const LEAST_LIMIT = 0.05;

// now: what the page shows, see network_part.js; openBlock(): the convolution whose maps are shown,
// or undefined; told(): is called when its effects are known. Returns what the other parts use.
function startWhy(network, now, {openBlock, told}) {
  const [height, width] = network.input_size, [name, other] = network.classes;
  const size = coverSize(network), places = coverPlaces(height, width, size);
  const stage = byId("heat"), canvas = stage.querySelector("canvas"), workers = startWorkers(network);
  const timings = {};
  let heat, effects, drawn;
  stage.grid = {rows: height, columns: width};

  // Begin again: for another picture, or with other maps switched off.
  function show() {
    const started = performance.now(), probability = now.uncovered;
    heat = null;
    effects = new Map();
    drawn = 0;
    workers.show(now.input, now.off);
    draw([], probability);
    workers.ask(places, (done) => draw(done, probability)).then((done) => {
      timings.heat = performance.now() - started;
      heat = {...draw(done, probability), covers: done};
      showStrongest(done, probability);
      askEffects();
    });
  }

  // Draw what is known so far, at most four times a second, and the whole of it.
  function draw(covers, probability) {
    const whole = covers.length === places.length;
    if (covers.length && !whole && performance.now() < drawn + 250) {
      return null;
    }
    drawn = performance.now();
    const values = occlusionMap(height, width, probability, covers);
    const limit = values.reduce((most, value) => Math.max(most, Math.abs(value)), LEAST_LIMIT);
    drawHeatmap(canvas, now.photo, coarser(values), limit);
    drawColourBar(byId("heat-bar"), 100 * limit);
    const [first, , last] = byId("heat-bar").querySelectorAll("span");
    const number = whole ? ` (${textOf(100 * limit, 3)})` : "";
    first.textContent = `for ${other}${number}`;
    last.textContent = `for ${name}${number}`;
    stage.querySelector(".window").hidden = true;
    if (!whole) {
      byId("heat-words").textContent =
        `Covering every place with grey: ${covers.length} of ${places.length} \u2026`;
    }
    return {values, limit};
  }

  // The map at one place for each step of the square: in between it is interpolated when it is
  // drawn, so that no edges are seen where there are none in the picture.
  function coarser(values) {
    const step = Math.max(1, size >> 1);
    const rows = Math.ceil(height / step), columns = Math.ceil(width / step);
    return {rows, columns, values: Float32Array.from({length: rows * columns}, (_, place) => {
      const row = Math.floor((Math.floor(place / columns) + 0.5) * height / rows);
      return values[row * width + Math.floor((place % columns + 0.5) * width / columns)];
    })};
  }

  function showStrongest(covers, probability) {
    const lost = (each) => Math.abs(probability - each.probability);
    const most = covers.reduce((best, each) => lost(each) > lost(best) ? each : best);
    stage.querySelector(".window").hidden = false;
    frame(stage, most.row, most.column, size, size);
    byId("heat-words").textContent = `With the frame covered with grey, ${name} ` +
      `${most.probability > probability ? "rises" : "falls"} from ${percent(probability)} to ` +
      `${percent(most.probability)}. Every place was covered in turn. The colour of a pixel: by how ` +
      `many percentage points ${name} falls (orange) or rises (blue), in the mean over the squares ` +
      `that cover it; the full colour: ${textOf(100 * heat.limit, 3)} and more.`;
  }

  // What the probability is without each map of the convolution that is shown.
  function askEffects() {
    const block = openBlock();
    if (!heat || !block || effects.has(block)) {
      return;
    }
    const layer = block.reluIndex, started = performance.now();
    const tasks = Array.from({length: block.layer.shape[2]},
                             (_, map) => ({kind: "without", layer, map}));
    workers.ask(tasks).then((done) => {
      const probabilities = new Float64Array(tasks.length);
      done.forEach(({map, probability}) => { probabilities[map] = probability; });
      effects.set(block, probabilities);
      timings.effects = performance.now() - started;
      told(block);
    });
  }

  return {show, askEffects, timings,
          stop() {
            workers.stop();
            heat = null;
            effects = new Map();
          },
          heat: () => heat && {values: Array.from(heat.values), covers: heat.covers},
          effects: (block) => effects?.get(block) ?? null};
}

// The side of the square that covers, in pixels of the network's input.
const coverSize = ({input_size: [height, width]}) =>
  Math.max(1, Math.floor(Math.min(height, width) / 5));
