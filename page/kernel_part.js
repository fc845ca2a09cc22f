"use strict";
// The first part of the page: one kernel, and one whole convolutional layer at work.

// A sentence for every preset of support/kernels.py.
const WORDS = {
  "identity": "The pixel itself counts once, its neighbours not at all: B is A.",
  "V": "The row below minus the row above: it shows lines that run from left to right. It is " +
    "called V because the change that it looks for is vertical.",
  "H": "The column to the right minus the one to the left. It shows lines that run up and down; " +
    "the change that it looks for is horizontal.",
  "diagonal \\": "Lower right minus upper left: it shows lines that rise to the right.",
  "diagonal /": "Upper right minus lower left: it shows lines that fall to the right.",
  "blur": "A mean in which the nearest pixels count most. The weights add up to 1, so the " +
    "brightness stays.",
  "sharpen": "The pixel, and what it differs by from its four neighbours once more.",
  "emboss": "Lower right minus upper left, added to the pixel: as if light fell from one side.",
  "outline": "Eight times the pixel minus its eight neighbours: 0 wherever all are equal, and " +
    "strong at every line, whichever way it runs.",
  "your own": "If the weights add up to 0, an even area gives 0; if they add up to 1, it stays " +
    "as it is.",
};

// How fast Play moves the window in its nth step: as little as is seen at first, and twice as much
// after every 16 steps, so that 800 x 600 pixels take less than a minute. Calm: a step a second.
const placesOfStep = (step, calm) => 2 ** Math.floor(step / (calm ? 4 : 16));

// presets: {size: {name: weights, row after row}}; start: the settings to begin with; changed() is
// called after other settings are shown. Returns what the page's other parts use of it.
function startKernelPart(presets, start, changed) {
  const settings = {size: 3, kernel: [], channel: "grey", padding: "same", stride: 1, bias: 0,
                    relu: false, pooling: false, ...start};
  const CHOICES = {channel: ["grey", "red", "green", "blue"], padding: ["same", "valid"],
                   stride: [1, 2], relu: [false, true], pooling: [false, true]};
  const place = {row: 0, column: 0};  // of the window, as a place of the convolution's output
  let picture, A, padded, B, afterRelu, filtered, limit, playing = null, paused = null;
  const timings = {};

  // ---- computing -------------------------------------------------------------------------

  function show(newPicture, name, note) {
    picture = newPicture;
    A = null;
    drawPicture(byId("picture").querySelector("canvas"), picture);
    byId("picture-name").textContent = name;
    byId("picture-size").textContent = `${picture.width} x ${picture.height} pixels${note}`;
    compute();
    moveTo(B.rows >> 1, B.columns >> 1);
  }

  function compute() {
    const started = performance.now();
    stop();
    if (A?.channel !== settings.channel) {
      A = {...channelOf(picture, settings.channel), channel: settings.channel};
      padded = null;
    }
    if (padded?.border !== border()) {
      padded = {...pad(A, border()), border: border()};
    }
    B = convolve(padded, matrix(settings.size, settings.size, Float32Array.from(settings.kernel)),
                 settings.stride, B);
    if (settings.bias !== 0) {
      B.values.forEach((sum, index) => { B.values[index] = sum + settings.bias; });
    }
    afterRelu = settings.relu ? relu(B) : B;
    filtered = settings.pooling ? maxPool(afterRelu) : afterRelu;
    draw();
    moveTo(place.row, place.column);
    return untilShown(started).then((milliseconds) => { timings.edit = milliseconds; });
  }

  // A kernel whose weights add up to about 1 makes another picture of grey values, and a bias of up
  // to a quarter of white leaves it one; of any other the result is positive or negative, in two
  // colours.
  function draw() {
    const sum = settings.kernel.reduce((total, weight) => total + weight, 0);
    const isPicture = Math.abs(sum - 1) <= 0.5 && Math.abs(settings.bias) <= 64;
    limit = isPicture ? null : strongest(filtered.values);
    drawNumbers(byId("filtered").querySelector("canvas"), filtered.rows, filtered.columns,
                filtered.values, limit);
    drawColourBar(byId("colour-bar"), limit);
    byId("filtered-size").textContent = `${filtered.columns} x ${filtered.rows}`;
    byId("colours").textContent = isPicture
      ? "The weights add up to about 1: B is shown as grey values, 0 to 255."
      : "Black is 0, orange positive, blue negative: see the numbers below B.";
    if (filtered.rows * filtered.columns === 0) {
      byId("colours").textContent =
        "The picture is too small for this kernel, padding and pooling.";
    }
  }

  // ---- the window ------------------------------------------------------------------------

  const border = () => settings.padding === "same" ? (settings.size - 1) / 2 : 0;

  function moveTo(row, column) {
    place.row = clamp(row, B.rows);
    place.column = clamp(column, B.columns);
    explain();
  }

  // The window, the products and what becomes of their sum, at the place of the window.
  function atPlace() {
    const {size, kernel, stride} = settings, {row, column} = place;
    const top = row * stride - border(), left = column * stride - border(), submatrix = [];
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < size; j++) {
        submatrix.push(elementOf(top + i, left + j) ?? 0);
      }
    }
    const products = submatrix.map((number, index) => number * kernel[index]);
    const sum = products.reduce((total, product) => total + product, 0);
    const there = row * B.columns + column, response = Math.fround(sum + settings.bias);
    const pooled = settings.pooling && (row >> 1) < filtered.rows &&
      (column >> 1) < filtered.columns;
    const result = !settings.pooling ? afterRelu.values[there] : pooled
      ? filtered.values[(row >> 1) * filtered.columns + (column >> 1)] : null;
    return {row, column, top, left, submatrix, products, sum, response, result,
            afterRelu: afterRelu.values[there]};
  }

  // A number of the picture; undefined outside it.
  const elementOf = (row, column) =>
    row >= 0 && column >= 0 && row < A.rows && column < A.columns
      ? A.values[row * A.columns + column] : undefined;

  function explain() {
    const empty = B.values.length === 0, {size, bias} = settings;
    for (const box of document.querySelectorAll("#kernel-part :is(.window, .arithmetic, .joins)")) {
      box.classList.toggle("empty", empty);
    }
    if (empty) {
      byId("sum").textContent = byId("after").textContent = byId("place").textContent = "";
      return;
    }
    const {row, column, top, left, products, sum, response, result} = atPlace();
    frame(byId("picture"), top, left, size, size);
    magnify(top + (size - 1) / 2, left + (size - 1) / 2);
    const block = settings.pooling ? 1 : 0;
    frame(byId("filtered"), Math.min(row >> block, filtered.rows - 1),
          Math.min(column >> block, filtered.columns - 1), 1, 1);

    fillGrid(byId("submatrix"), size, size, (i, j) => {
      const value = elementOf(top + i, left + j);
      const colours = {red: [value, 0, 0], green: [0, value, 0], blue: [0, 0, value]};
      return {text: value ?? "0", kind: value === undefined ? "outside" : "",
              colour: value === undefined ? undefined
                : colours[settings.channel] ?? [value, value, value]};
    });
    const most = Math.max(...products.map(Math.abs)) || 1;
    fillGrid(byId("products"), size, size, (i, j) => ({
      text: textOf(products[i * size + j]), colour: colourOf(products[i * size + j], most)}));
    fitNumbers(byId("products"), products.map((product) => textOf(product)));
    showSum(products, sum);
    const colour = limit === null ? Array(3).fill(Math.min(255, Math.max(0, result ?? 0)))
      : colourOf(result ?? 0, limit);
    byId("cell").textContent = result === null ? "none" : textOf(result);
    fitNumbers(byId("cell"), [byId("cell").textContent]);
    Object.assign(byId("cell").style, {backgroundColor: `rgb(${colour})`, color: inkOn(colour)});

    const steps = [];
    if (bias !== 0) {
      steps.push(`With the bias ${textOf(bias)} that is ${textOf(response, 6)}`);
    }
    if (settings.relu) {
      steps.push(`ReLU: the larger of 0 and ${textOf(response, 6)} is ` +
                 textOf(Math.max(0, response), 6));
    }
    if (settings.pooling) {
      const four = [0, 1].flatMap((i) => [0, 1].map(
        (j) => afterRelu.values[(row - row % 2 + i) * B.columns + column - column % 2 + j]));
      steps.push(result === null ? "Pooling: this last row or column is in no block of 2x2"
        : `Pooling: the largest of ${four.map((value) => textOf(value, 6)).join(", ")} is ` +
          textOf(result, 6));
    }
    byId("after").textContent = steps.join(". ");
    byId("place").textContent = `Row ${row + 1}, column ${column + 1} of the convolution: the ` +
      `sum is ${textOf(sum, 6)}.`;
    join();
  }

  // The pixels around the middle of the window, enlarged.
  function magnify(row, column) {
    const canvas = byId("loupe").querySelector("canvas"), {width, height} = canvas;
    const top = row - (height - 1) / 2, left = column - (width - 1) / 2, {size} = settings;
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    context.drawImage(byId("picture").querySelector("canvas"), left, top, width, height,
                      0, 0, width, height);
    frame(byId("loupe"), (height - size) / 2, (width - size) / 2, size, size);
  }

  // The products as a sum. Where the rounded terms do not add up to what is shown, it says so.
  function showSum(products, sum) {
    const terms = products.filter((product) => product !== 0);
    const shown = terms.map((term) => Number(term.toPrecision(4)));
    const isExact = Math.abs(shown.reduce((total, term) => total + term, 0) -
                             Number(sum.toPrecision(6))) < 1e-9;
    byId("sum").replaceChildren(
      terms.map((term, index) => `${index === 0 ? "" : term < 0 ? " \u2212 " : " + "}` +
                                 textOf(index === 0 ? term : Math.abs(term))).join("") +
      (terms.length > 1 ? isExact ? " = " : " \u2248 " : ""),
      element("b", {textContent: textOf(sum, 6)}),
      isExact ? "" : " (the terms are rounded)");
  }

  // Two lines: from the window in A to its numbers, and from the sum to its place in B, without
  // crossing the pictures. All is measured before anything is drawn, or the browser would lay out
  // the page once more.
  function join() {
    const bench = document.querySelector(".workbench").getBoundingClientRect();
    const [from, to] = document.querySelectorAll(".joins path");
    const middle = ({left, width}, y) => [left + width / 2 - bench.left, y - bench.top].map(
      Math.round);
    const line = (start, end) => `M ${start} C ${start[0]} ${(start[1] + end[1]) / 2}, ` +
      `${end[0]} ${(start[1] + end[1]) / 2}, ${end}`;
    const boxOf = (selector) => document.querySelector(selector).getBoundingClientRect();
    const numbers = boxOf("figure:has(#submatrix)"), sum = boxOf("figure:has(#cell)");
    const fromA = line(middle(boxOf("#picture .window"), boxOf("#picture").bottom),
                       middle(numbers, numbers.top));
    const toB = `${line(middle(boxOf("#filtered .window"), boxOf("#colour-bar").bottom),
                        middle(sum, numbers.top))} V ${sum.top - bench.top}`;
    from.setAttribute("d", fromA);
    to.setAttribute("d", toB);
  }

  // ---- playing ---------------------------------------------------------------------------

  // Slide the window over the picture, from its first place or from where it was paused; what it has
  // not reached yet is hidden.
  function play() {
    if (filtered.values.length === 0) {
      return;
    }
    hold.set(false);
    const byRow = byId("speed").value === "row";
    const isLast = () => place.row === B.rows - 1 && (byRow || place.column === B.columns - 1);
    if (isLast() || paused?.row !== place.row || paused?.column !== place.column) {
      place.row = 0;
      place.column = byRow ? place.column : 0;
    }
    const seen = Math.ceil(B.columns / byId("picture").clientWidth);  // a step as wide as a pixel
    byId("play").textContent = "Pause";
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    let steps = 0;
    const step = () => {
      const places = seen * placesOfStep(steps++, calm);
      if (byRow) {
        moveTo(place.row + (calm ? places : seen), place.column);
      } else {
        const next = Math.min(B.rows * B.columns - 1,
                              place.row * B.columns + place.column + places);
        moveTo(Math.floor(next / B.columns), next % B.columns);
      }
      if (isLast()) {
        stop();
      } else {
        veil(byRow);
        playing = setTimeout(step, calm ? 1000 : byRow ? 30 : 90);
      }
    };
    veil(byRow);
    playing = setTimeout(step, 0);
  }

  // Hide what is not reached yet: below the window's row and, unless all of a row is computed at
  // once, to the right of the window.
  function veil(byRow) {
    const block = settings.pooling ? 2 : 1, share = 100 / filtered.rows;
    const row = Math.floor(place.row / block), column = Math.floor(place.column / block) + 1;
    const [below, right] = document.querySelectorAll(".veil");
    const left = 100 * column / filtered.columns;
    Object.assign(below.style, {display: "block", left: 0, right: 0, bottom: 0,
                                top: `${share * (row + 1)}%`});
    Object.assign(right.style, {display: byRow ? "none" : "block", left: `${left}%`, right: 0,
                                top: `${share * row}%`, height: `${share}%`});
  }

  function stop() {
    clearTimeout(playing);
    playing = null;
    byId("play").textContent = "Play";
    for (const each of document.querySelectorAll(".veil")) {
      each.style.display = "none";
    }
  }

  // ---- settings --------------------------------------------------------------------------

  const isWeight = (number) => Number.isFinite(Math.fround(number));

  // Take over those settings that are valid.
  function take(changes) {
    const kernel = changes.kernel?.map(Number);
    if (kernel && [9, 25].includes(kernel.length) && kernel.every(isWeight)) {
      settings.kernel = kernel;
      settings.size = Math.sqrt(kernel.length);
    }
    for (const [name, choices] of Object.entries(CHOICES)) {
      if (choices.includes(changes[name])) {
        settings[name] = changes[name];
      }
    }
    if (changes.bias !== undefined && isWeight(Number(changes.bias))) {
      settings.bias = Number(changes.bias);
    }
  }

  // Take over settings and show what follows from them. The promise resolves when it is on the
  // screen.
  function update(changes) {
    dispatchEvent(new Event("busy"));  // see workers.js
    take(changes);
    showSettings();
    const shown = compute();
    say(byId("place").textContent);
    return shown.then(changed);
  }

  function showSettings() {
    const {size, kernel} = settings, grid = byId("kernel");
    byId("size").value = size;
    const names = Object.keys(presets[size]);
    const named = names.find((name) => presets[size][name].every(
      (weight, index) => Math.fround(weight) === Math.fround(kernel[index]))) ?? "your own";
    if (grid.children.length !== kernel.length) {
      byId("preset").replaceChildren(...[...names, "your own"].map(
        (name) => element("option", {textContent: name, value: name})));
      document.querySelector(".workbench").style.setProperty("--size", size);
      grid.replaceChildren(...kernel.map((_, index) => {
        const input = element("input", {type: "text", autocomplete: "off", spellcheck: false});
        input.setAttribute("aria-label", `row ${Math.floor(index / size) + 1}, column ` +
                                         `${index % size + 1}`);
        input.addEventListener("input", readKernel);
        input.addEventListener("change", sayWhatIsWrong);
        return input;
      }));
    }
    byId("preset").value = named;
    if (byId("preset-words").textContent !== `${named}: ${WORDS[named]}`) {
      byId("preset-words").replaceChildren(element("b", {textContent: named}), `: ${WORDS[named]}`);
    }
    [...grid.children].forEach((input, index) => {
      input.removeAttribute("aria-invalid");
      if (input !== document.activeElement || numberIn(input) !== kernel[index]) {
        input.value = textOfWeight(kernel[index]);
      }
      input.title = kernel[index];
    });
    fitNumbers(grid, [...grid.children].map(({value}) => value));
    byId("kernel-message").textContent = "";
    for (const name of ["channel", "padding", "stride"]) {
      byId(name).value = settings[name];
    }
    if (byId("bias") !== document.activeElement || numberIn(byId("bias")) !== settings.bias) {
      byId("bias").value = textOfWeight(settings.bias);
    }
    byId("relu").checked = settings.relu;
    byId("pooling").checked = settings.pooling;
  }

  // The number in a field; NaN if there is none.
  function numberIn(input) {
    const text = input.value.trim().replace("\u2212", "-").replace(",", ".");
    return text === "" ? NaN : Number(text);
  }

  // The kernel as it was typed; while a number is half typed, the last kernel stays.
  function readKernel() {
    const inputs = [...byId("kernel").children], numbers = inputs.map(numberIn);
    inputs.forEach((input, index) => {
      input.setAttribute("aria-invalid", !isWeight(numbers[index]));
    });
    if (numbers.every(isWeight)) {  // what is not typed keeps more digits than it shows
      update({kernel: numbers.map((number, index) =>
        inputs[index].value === textOfWeight(settings.kernel[index]) ? settings.kernel[index]
          : number)});
    }
  }

  // When a field is left that holds no number.
  function sayWhatIsWrong({target}) {
    if (!isWeight(numberIn(target))) {
      byId("kernel-message").textContent = `${target.value || "Nothing"} in ` +
        `${target.getAttribute("aria-label") ?? "the bias"} is not a number: the last ` +
        `${target === byId("bias") ? "one" : "kernel"} stays.`;
    }
  }

  // A kernel as filters.py takes it: "-1 0 1; -2 0 2; -1 0 1"; null if the text is none.
  function parseKernel(text) {
    const rows = text.replace(/\u2212/g, "-").trim().replace(/;$/, "").split(/;|\n/).map(
      (row) => row.replace(/,/g, " ").trim().split(/\s+/).map(Number));
    const isSquare = [3, 5].includes(rows.length) && rows.every(
      (row) => row.length === rows.length && row.every(isWeight));
    return isSquare ? rows.flat() : null;
  }

  // Take a kernel that is pasted; whatever else is pasted into a field goes where it always goes.
  function paste(event) {
    const text = event.clipboardData.getData("text");
    if (!/[;\n]/.test(text.trim())) {
      return;
    }
    event.preventDefault();
    const kernel = parseKernel(text);
    if (kernel) {
      update({kernel});
    } else {
      byId("kernel-message").textContent = `"${text.slice(0, 60)}" is no kernel of 3x3 or 5x5 ` +
        'numbers: write its rows like "-1 0 1; -2 0 2; -1 0 1".';
    }
  }

  // The settings and the window as what stands in the address after #.
  function address() {
    const {kernel, channel, padding, stride, bias, relu, pooling} = settings;
    return `kernel=${kernel.join(",")}&channel=${channel}&padding=${padding}&stride=${stride}` +
      `&bias=${bias}&relu=${relu}&pooling=${pooling}`;
  }

  // Take over what an address says, {name: text}; returns the names of what it says in vain.
  function readAddress(fields) {
    const changes = {}, wrong = [];
    for (const [name, choices] of Object.entries(CHOICES)) {
      changes[name] = choices.find((choice) => `${choice}` === fields[name]);
      if (name in fields && changes[name] === undefined) {
        wrong.push(name);
      }
    }
    changes.kernel = fields.kernel?.split(",").map((text) => text === "" ? NaN : Number(text));
    changes.bias = fields.bias === undefined ? undefined : fields.bias === "" ? NaN
      : Number(fields.bias);
    take(changes);
    if (changes.kernel && !([9, 25].includes(changes.kernel.length) &&
                            changes.kernel.every(isWeight))) {
      wrong.push("kernel");
    }
    if (changes.bias !== undefined && !isWeight(changes.bias)) {
      wrong.push("bias");
    }
    return wrong;
  }

  // Enlarge a kernel to 5x5 with zeros around it, or keep its middle 3x3.
  function resized(size) {
    return Array.from({length: size * size}, (_, index) => {
      const by = (settings.size - size) / 2;
      const row = Math.floor(index / size) + by, column = index % size + by;
      const inside = Math.min(row, column) >= 0 && Math.max(row, column) < settings.size;
      return inside ? settings.kernel[row * settings.size + column] : 0;
    });
  }

  byId("preset").addEventListener("change", (event) => {
    update({kernel: presets[settings.size][event.target.value] ?? settings.kernel});
  });
  byId("size").addEventListener("change", (event) => {
    const size = Number(event.target.value), named = presets[size][byId("preset").value];
    update({kernel: named ?? resized(size)});
  });
  for (const name of ["channel", "padding"]) {
    byId(name).addEventListener("change", (event) => update({[name]: event.target.value}));
  }
  byId("stride").addEventListener("change", (event) =>
    update({stride: Number(event.target.value)}));
  for (const name of ["relu", "pooling"]) {
    byId(name).addEventListener("change", (event) => update({[name]: event.target.checked}));
  }
  byId("play").addEventListener("click", () => {
    if (playing === null) {
      play();
    } else {
      stop();
      paused = {...place};
    }
  });
  byId("bias").addEventListener("input", () => {
    byId("bias").setAttribute("aria-invalid", !isWeight(numberIn(byId("bias"))));
    if (isWeight(numberIn(byId("bias")))) {
      update({bias: numberIn(byId("bias"))});
    }
  });
  byId("bias").addEventListener("change", sayWhatIsWrong);
  document.addEventListener("paste", (event) => event.clipboardData.files.length || paste(event));
  addEventListener("resize", () => B && explain());

  const move = (rows, columns) => {
    stop();
    moveTo(place.row + rows, place.column + columns);
  };
  for (const button of document.querySelectorAll("[data-move]")) {
    const name = button.dataset.move;
    button.addEventListener("click", () => {
      move(...ARROWS[`Arrow${name[0].toUpperCase()}${name.slice(1)}`]);
      say(byId("place").textContent);
    });
  }
  const stages = [byId("picture"), byId("filtered")];
  const hold = makeHold(stages, byId("kernel-held"));
  follow(byId("picture"), (row, column) => {  // the window whose middle is nearest
    const middle = settings.padding === "same" ? 0 : (settings.size - 1) / 2;
    if (playing === null) {
      moveTo(Math.floor((row - middle) / settings.stride),
             Math.floor((column - middle) / settings.stride));
    }
  }, move, {hold, pressed: stop});
  follow(byId("filtered"), (row, column) => {
    if (playing !== null) {
      return;
    }
    if (!settings.pooling) {
      moveTo(row, column);
      return;
    }
    const four = [[0, 0], [0, 1], [1, 0], [1, 1]].map(([i, j]) => [2 * row + i, 2 * column + j]);
    const valueAt = ([i, j]) => afterRelu.values[i * B.columns + j];
    moveTo(...four.reduce((best, each) => valueAt(each) > valueAt(best) ? each : best));
  }, move, {hold, pressed: stop});

  showSettings();

  return {show, update, moveTo, atPlace, timings, settings, address, readAddress, showSettings,
          reset() {
            settings.bias = 0;
            hold.set(false);
            byId("speed").value = "pixel";
            const shown = update(
              {channel: "grey", stride: 1, relu: false, pooling: false, ...start});
            moveTo(B.rows >> 1, B.columns >> 1);
            return shown;
          },
          numbers: () => A, filtered: () => filtered,
          canvases: () => stages.map((stage) => stage.querySelector("canvas"))};
}
