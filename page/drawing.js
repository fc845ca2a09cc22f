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

// A weight for a narrow place: 0.0039, -1.25, 9.8e-5.
function textOfWeight(weight, minus = "-") {
  const isTiny = Math.abs(weight) < 1e-3 && weight !== 0;
  return (isTiny ? weight.toExponential(1) : `${+weight.toFixed(4)}`).replace(/-/g, minus);
}

const percent = (probability) => `${(100 * probability).toFixed(1)}%`;

// Black or white, whichever is easier to read on these levels of red, green and blue.
function inkOn([red, green, blue]) {
  const linear = (level) => (level / 255) ** 2.2;
  const light = 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  return light > 0.18 ? "#000000" : "#ffffff";
}

// Write cells into a table: cellOf(row, column) -> {text, colour, corner, kind}. Colour: three
// levels or undefined; corner: a second number; kind: a class.
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
      const {text, colour, corner, kind} = cellOf(row, column);
      cell.textContent = text;
      cell.className = kind ?? "";
      cell.style.backgroundColor = colour ? `rgb(${colour})` : "";
      cell.style.color = colour ? inkOn(colour) : "";
      if (corner !== undefined) {
        cell.append(element("small", {textContent: corner}));
      }
    }
  }
}

// Put the window of a stage over this part of its canvas, in pixels of the canvas.
function frame(stage, row, column, rows, columns) {
  const {width, height} = stage.querySelector("canvas"), box = stage.querySelector(".window");
  box.style.left = `${100 * (column + columns / 2) / width}%`;
  box.style.top = `${100 * (row + rows / 2) / height}%`;
  box.style.width = `${100 * columns / width}%`;
  box.style.height = `${100 * rows / height}%`;
}

const ARROWS = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]};

// Have screen readers say a sentence. Of many that follow quickly they say the last one only.
function say(sentence) {
  clearTimeout(say.waiting);
  say.waiting = setTimeout(() => { byId("said").textContent = sentence; }, 500);
}

// Call point(row, column) with the pixel of the stage's canvas that is pointed at, and move(rows,
// columns) for arrow keys, with Shift tenfold; then say what describes the stage. A click holds
// the place until the next one; where drag() is true, the place follows a pressed pointer only.
function follow(stage, point, move, drag = () => false) {
  let held = false;
  const describe = () => say(byId(stage.getAttribute("aria-describedby")).textContent);
  const place = (event) => {
    const canvas = stage.querySelector("canvas"), box = canvas.getBoundingClientRect();
    const along = (start, length, pixels) =>
      Math.min(pixels - 1, Math.max(0, Math.floor((start / length) * pixels)));
    point(along(event.clientY - box.top, box.height, canvas.height),
          along(event.clientX - box.left, box.width, canvas.width));
    describe();
  };
  stage.addEventListener("pointerdown", (event) => {
    if (drag()) {
      stage.setPointerCapture(event.pointerId);
    } else {
      held = event.pointerType === "mouse" && !held;
    }
    place(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (drag() ? event.buttons : !held) {
      place(event);
    }
  });
  stage.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (arrow && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      move(...arrow.map((step) => step * (event.shiftKey ? 10 : 1)));
      describe();
    }
  });
}

const clamp = (value, length) => Math.min(Math.max(0, value), Math.max(0, length - 1));

// The milliseconds from `started` until what was drawn is on the screen.
function untilShown(started) {
  return new Promise((resolve) => requestAnimationFrame(
    () => setTimeout(() => resolve(performance.now() - started))));
}
