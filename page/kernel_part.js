"use strict";
// The first part of the page: one kernel, and one whole convolutional layer at work.

// presets: {size: {name: weights, row after row}}; start: the settings to begin with. Returns what
// the page's other parts use of it.
function startKernelPart(presets, start) {
  const settings = {size: 3, kernel: [], channel: "grey", padding: "same", stride: 1, relu: false,
                    pooling: false, ...start};
  const CHOICES = {channel: ["grey", "red", "green", "blue"], padding: ["same", "valid"],
                   stride: [1, 2], relu: [false, true], pooling: [false, true]};
  const place = {row: 0, column: 0};  // of the window, as a place of the convolution's output
  let picture, A, B, afterRelu, filtered, playing = null;
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
    }
    B = convolve(A, matrix(settings.size, settings.size, Float32Array.from(settings.kernel)),
                 settings.padding, settings.stride);
    afterRelu = settings.relu ? relu(B) : B;
    filtered = settings.pooling ? maxPool(afterRelu) : afterRelu;
    draw();
    moveTo(place.row, place.column);
    return untilShown(started).then((milliseconds) => { timings.edit = milliseconds; });
  }

  function draw() {
    const sum = settings.kernel.reduce((total, weight) => total + weight, 0);
    const isPicture = Math.abs(sum - 1) < 1e-6;
    drawNumbers(byId("filtered").querySelector("canvas"), filtered.rows, filtered.columns,
                filtered.values, isPicture ? null : strongest(filtered.values));
    byId("filtered-size").textContent = `${filtered.columns} x ${filtered.rows}`;
    byId("colours").textContent = isPicture
      ? "The weights add up to 1: the result is shown as grey values, 0 to 255."
      : "Black is 0, orange positive, blue negative.";
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
    const there = row * B.columns + column;
    const pooled = settings.pooling && (row >> 1) < filtered.rows &&
      (column >> 1) < filtered.columns;
    const result = !settings.pooling ? afterRelu.values[there] : pooled
      ? filtered.values[(row >> 1) * filtered.columns + (column >> 1)] : null;
    return {row, column, top, left, submatrix, products, sum, afterRelu: afterRelu.values[there],
            result};
  }

  // A number of the picture; undefined outside it.
  const elementOf = (row, column) =>
    row >= 0 && column >= 0 && row < A.rows && column < A.columns
      ? A.values[row * A.columns + column] : undefined;

  function explain() {
    const empty = B.values.length === 0, {size, kernel} = settings;
    for (const box of document.querySelectorAll("#kernel-part :is(.window, .steps)")) {
      box.classList.toggle("empty", empty);
    }
    if (empty) {
      byId("sum").textContent = byId("after").textContent = byId("place").textContent = "";
      return;
    }
    const {row, column, top, left, products, sum, result} = atPlace();
    frame(byId("picture"), top, left, size, size);
    const block = settings.pooling ? 1 : 0;
    frame(byId("filtered"), Math.min(row >> block, filtered.rows - 1),
          Math.min(column >> block, filtered.columns - 1), 1, 1);

    document.querySelector(".C").textContent = `${size}x${size}`;
    fillGrid(byId("submatrix"), size + 2, size + 2, (i, j) => {  // and a border around it
      const inside = i > 0 && j > 0 && i <= size && j <= size;
      const value = elementOf(top + i - 1, left + j - 1);
      const colours = {red: [value, 0, 0], green: [0, value, 0], blue: [0, 0, value]};
      return {text: value ?? (inside ? "0" : ""),
              colour: value === undefined ? undefined
                : colours[settings.channel] ?? [value, value, value],
              corner: inside ? `\u00d7${textOfWeight(kernel[(i - 1) * size + j - 1], "\u2212")}`
                : undefined,
              kind: `${inside ? "inside" : ""} ${value === undefined ? "outside" : ""}`};
    });
    const limit = Math.max(...products.map(Math.abs)) || 1;
    fillGrid(byId("products"), size, size, (i, j) => ({
      text: textOf(products[i * size + j]), colour: colourOf(products[i * size + j], limit)}));

    const terms = products.filter((product) => product !== 0);
    byId("sum").replaceChildren(
      terms.map((term, index) => `${index === 0 ? "" : term < 0 ? " \u2212 " : " + "}` +
                                 textOf(index === 0 ? term : Math.abs(term))).join("") +
      (terms.length > 1 ? " = " : ""), element("b", {textContent: textOf(sum, 6)}));
    const steps = [];
    if (settings.relu) {
      steps.push(`ReLU: the larger of 0 and ${textOf(sum, 6)} is ${textOf(Math.max(0, sum), 6)}`);
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
  }

  // ---- playing ---------------------------------------------------------------------------

  // Slide the window over the picture, row by row; what it has not reached yet is hidden.
  function play() {
    if (filtered.values.length === 0) {
      return;
    }
    if (place.row === B.rows - 1 && place.column === B.columns - 1) {
      place.row = place.column = 0;
    }
    byId("play").textContent = "Pause";
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const step = () => {
      if (byId("speed").value === "row") {
        moveTo(place.row + 1, B.columns - 1);
      } else if (place.column < B.columns - 1) {
        moveTo(place.row, place.column + 1);
      } else {
        moveTo(place.row + 1, 0);
      }
      if (place.row === B.rows - 1 && place.column === B.columns - 1) {
        stop();
      } else {
        veil();
        const milliseconds = byId("speed").value === "row" ? 30 : 90;
        playing = setTimeout(step, calm ? 1000 : milliseconds);
      }
    };
    veil();
    playing = setTimeout(step, 0);
  }

  function veil() {
    const block = settings.pooling ? 2 : 1, share = 100 / filtered.rows;
    const row = Math.floor(place.row / block), column = Math.floor(place.column / block) + 1;
    const [below, right] = document.querySelectorAll(".veil");
    const left = 100 * column / filtered.columns;
    Object.assign(below.style, {display: "block", left: 0, right: 0, bottom: 0,
                                top: `${share * (row + 1)}%`});
    Object.assign(right.style, {display: "block", left: `${left}%`, right: 0,
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
  }

  // Take over settings and show what follows from them. The promise resolves when it is on the
  // screen.
  function update(changes) {
    take(changes);
    showSettings();
    const shown = compute();
    say(byId("place").textContent);
    return shown.then(() => history.replaceState(null, "", address()));
  }

  function showSettings() {
    const {size, kernel} = settings, grid = byId("kernel");
    byId("size").value = size;
    const names = Object.keys(presets[size]);
    byId("preset").replaceChildren(...[...names, "your own"].map(
      (name) => element("option", {textContent: name, value: name})));
    byId("preset").value = names.find((name) => presets[size][name].every(
      (weight, index) => Math.fround(weight) === Math.fround(kernel[index]))) ?? "your own";
    if (grid.children.length !== kernel.length) {
      grid.style.gridTemplateColumns = `repeat(${size}, 1fr)`;
      grid.classList.toggle("wide", size === 5);
      grid.replaceChildren(...kernel.map((_, index) => {
        const input = element("input", {type: "text", autocomplete: "off", spellcheck: false});
        input.setAttribute("aria-label", `row ${Math.floor(index / size) + 1}, column ` +
                                         `${index % size + 1}`);
        input.addEventListener("input", readKernel);
        input.addEventListener("change", sayWhatIsWrong);
        return input;
      }));
    }
    [...grid.children].forEach((input, index) => {
      input.removeAttribute("aria-invalid");
      if (input !== document.activeElement || numberIn(input) !== kernel[index]) {
        input.value = textOfWeight(kernel[index]);
      }
      input.title = kernel[index];
    });
    byId("kernel-message").textContent = "";
    for (const name of ["channel", "padding", "stride"]) {
      byId(name).value = settings[name];
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
        `${target.getAttribute("aria-label")} is not a number: the last kernel stays.`;
    }
  }

  // The settings as what stands in the address after #.
  function address() {
    const {kernel, channel, padding, stride, relu, pooling} = settings;
    return `#kernel=${kernel.join(",")}&channel=${channel}&padding=${padding}&stride=${stride}` +
      `&relu=${relu}&pooling=${pooling}`;
  }

  function readAddress() {
    const fields = new URLSearchParams(location.hash.slice(1)), changes = {};
    for (const [name, choices] of Object.entries(CHOICES)) {
      changes[name] = choices.find((choice) => `${choice}` === fields.get(name));
    }
    changes.kernel = fields.get("kernel")?.split(",").map(
      (text) => text === "" ? NaN : Number(text));
    return changes;
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
  byId("play").addEventListener("click", () => playing === null ? play() : stop());
  addEventListener("hashchange", () => update(readAddress()));

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
  follow(byId("picture"), (row, column) => {  // the window whose middle is nearest
    const middle = settings.padding === "same" ? 0 : (settings.size - 1) / 2;
    if (playing === null) {
      moveTo(Math.floor((row - middle) / settings.stride),
             Math.floor((column - middle) / settings.stride));
    }
  }, move);
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
  }, move);

  take(readAddress());
  showSettings();

  return {show, update, moveTo, atPlace, timings, settings,
          numbers: () => A, filtered: () => filtered};
}
