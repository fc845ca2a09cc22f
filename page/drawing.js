"use strict";
// What both parts of the page are drawn with: numbers as text, grids of them, and windows that the
// pointer and the arrow keys move.

const byId = (id) => document.getElementById(id);

// A new element with these properties and children.
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// A number in a few characters, with a real minus sign.
function textOf(number, digits = 4) {
  const rounded = Number.isInteger(number) ? number : Number(number.toPrecision(digits));
  const text = Math.abs(rounded) < 1e-4 && rounded !== 0 ? rounded.toExponential(1) : `${rounded}`;
  return text.replace(/-/g, "\u2212");
}

// A weight for a narrow place, with three digits at least: 0.00391, -1.25, 9.88e-6.
function textOfWeight(weight) {
  const size = Math.abs(weight);
  return size < 1e-3 && size !== 0 ? weight.toExponential(2)
    : `${size < 0.01 ? +weight.toPrecision(3) : +weight.toFixed(4)}`;
}

// Where a number is too long for its place, all numbers of the box become smaller: see page.css.
function fitNumbers(box, texts) {
  const characters = Math.max(4, ...texts.map(({length}) => length));
  if (box.characters !== characters) {
    box.characters = characters;
    box.style.setProperty("--characters", characters);
  }
}

// A probability with so many decimals. One that is not quite 0 or 1 is not rounded to that: <0.0001.
function decimals(probability, digits = 4, whole = 1) {
  const text = (whole * probability).toFixed(digits), step = 10 ** -digits;
  return probability > 0 && Number(text) === 0 ? `<${step.toFixed(digits)}`
    : probability < 1 && Number(text) === whole ? `>${(whole - step).toFixed(digits)}` : text;
}

const percent = (probability, digits = 1) => `${decimals(probability, digits, 100)}%`;

// Black or white, whichever is easier to read on these levels of red, green and blue.
function inkOn([red, green, blue]) {
  const linear = (level) => (level / 255) ** 2.2;
  const light = 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  return light > 0.18 ? "#000000" : "#ffffff";
}

// Write cells into a table: cellOf(row, column) -> {text, colour, kind}. Colour: three levels or
// undefined; kind: a class. A text that stays is not written again, or the browser would lay it out.
function fillGrid(table, rows, columns, cellOf) {
  table.classList.toggle("wide", columns >= 5);
  while (table.rows.length > rows) {
    table.deleteRow(-1);
  }
  for (let row = 0; row < rows; row++) {
    const line = table.rows[row] ?? table.insertRow();
    while (line.cells.length > columns) {
      line.deleteCell(-1);
    }
    for (let column = 0; column < columns; column++) {
      const cell = line.cells[column] ?? line.insertCell();
      const {text, colour, kind} = cellOf(row, column);
      if (cell.textContent !== `${text}`) {
        cell.textContent = text;
      }
      cell.className = kind ?? "";
      cell.style.backgroundColor = colour ? `rgb(${colour})` : "";
      cell.style.color = colour ? inkOn(colour) : "";
    }
  }
}

// The rows and columns that the places of a stage are counted in: those of its canvas, unless it
// shows something finer or coarser.
function gridOf(stage) {
  const {width, height} = stage.querySelector("canvas");
  return stage.grid ?? {rows: height, columns: width};
}

// Put the window of a stage over these of its places.
function frame(stage, row, column, rows, columns) {
  const grid = gridOf(stage), box = stage.querySelector(".window");
  box.style.left = `${100 * (column + columns / 2) / grid.columns}%`;
  box.style.top = `${100 * (row + rows / 2) / grid.rows}%`;
  box.style.width = `${100 * columns / grid.columns}%`;
  box.style.height = `${100 * rows / grid.rows}%`;
}

// A stage: a canvas with a window on it, for the pointer and the arrow keys. describedBy: the id
// of the sentence that is said when the window has moved.
function makeStage(label, describedBy) {
  const stage = element("div", {className: "stage", tabIndex: 0},
                        element("canvas"), element("div", {className: "window"}));
  stage.setAttribute("role", "application");
  stage.setAttribute("aria-label", label);
  stage.setAttribute("aria-describedby", describedBy);
  return stage;
}

// What the colours of a picture mean, with its numbers: fills an element of the class colour-bar.
// limit: what has the full colour, either way; null for grey values.
function drawColourBar(bar, limit, unit = "") {
  bar.classList.toggle("grey", limit === null);
  const numbers = limit === null ? [["0", " black"], ["128", ""], ["255", " white"]]
    : [[`\u2212${textOf(limit, 3)}${unit}`, " and less"], ["0", ""],
       [`${textOf(limit, 3)}${unit}`, " and more"]];
  bar.replaceChildren(element("div"), ...numbers.map(([number, words]) =>
    element("span", {}, number, element("small", {textContent: words}))));
}

const ARROWS = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]};

// Have screen readers say a sentence. Of many that follow quickly they say the last one only.
function say(sentence) {
  clearTimeout(say.waiting);
  say.waiting = setTimeout(() => { byId("said").textContent = sentence; }, 500);
}

// Stages that a click holds at their place, all together, until the next click or Escape. note: the
// element that says so.
function makeHold(stages, note) {
  const hold = {
    held: false,
    set(held) {
      hold.held = held;
      note.hidden = !held;
      stages.forEach((stage) => stage.classList.toggle("held", held));
    },
  };
  addEventListener("keydown", ({key}) => key === "Escape" && hold.set(false));
  hold.set(false);
  return hold;
}

// Call point(row, column) with the place of the stage that is pointed at, and move(rows, columns)
// for arrow keys, with Shift tenfold; then say what describes the stage. A click calls pressed()
// and holds the place, see makeHold. Without a hold the place follows a pressed pointer only; where
// isActive() is false, nothing happens.
function follow(stage, point, move, {hold = null, pressed = () => {}, isActive = () => true} = {}) {
  const describe = () => say(byId(stage.getAttribute("aria-describedby")).textContent);
  const place = (event) => {
    const {rows, columns} = gridOf(stage);
    const box = stage.querySelector("canvas").getBoundingClientRect();
    const along = (start, length, places) =>
      Math.min(places - 1, Math.max(0, Math.floor((start / length) * places)));
    point(along(event.clientY - box.top, box.height, rows),
          along(event.clientX - box.left, box.width, columns));
    describe();
  };
  stage.addEventListener("pointerdown", (event) => {
    if (!isActive()) {
      return;
    } else if (hold) {
      pressed();
      hold.set(event.pointerType === "mouse" && !hold.held);
    } else {
      stage.setPointerCapture(event.pointerId);
    }
    place(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (isActive() && (hold ? !hold.held : event.buttons)) {
      place(event);
    }
  });
  stage.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (isActive() && arrow && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      move(...arrow.map((step) => step * (event.shiftKey ? 10 : 1)));
      describe();
    }
  });
}

// Of the buttons in a box the tabulator key reaches one; arrow keys, Home and End lead to the
// others. Call it again when other buttons stand there.
function makeToolbar(box) {
  const buttons = () => [...box.querySelectorAll("button:not([hidden])")];
  const reach = (button) => buttons().forEach((each) => {
    each.tabIndex = each === button ? 0 : -1;
  });
  reach(buttons().find((each) => each.getAttribute("aria-pressed") === "true") ?? buttons()[0]);
  if (box.isToolbar) {
    return;
  }
  box.isToolbar = true;
  box.addEventListener("focusin", ({target}) => target.matches("button") && reach(target));
  box.addEventListener("keydown", (event) => {
    const all = buttons(), index = all.indexOf(document.activeElement);
    const across = Math.max(1, all.filter(
      ({offsetTop}) => offsetTop === all[0]?.offsetTop).length);
    const [down, right] = ARROWS[event.key] ?? [0, 0];
    const to = {Home: 0, End: all.length - 1}[event.key] ?? index + right + down * across;
    if (index >= 0 && to !== index && all[to]) {
      event.preventDefault();
      all[to].focus();
    }
  });
}

const clamp = (value, length) => Math.min(Math.max(0, value), Math.max(0, length - 1));

// The milliseconds from `started` until what was drawn is on the screen.
function untilShown(started) {
  return new Promise((resolve) => requestAnimationFrame(
    () => setTimeout(() => resolve(performance.now() - started))));
}
