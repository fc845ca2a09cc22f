"use strict";
// The article's "What is a convolution?", as the convolve_by_hand of filters.py has it, but for a
// whole row of places at once.
//
// A matrix is {rows, columns, values}: its numbers as a Float32Array, one row after the other.

function matrix(rows, columns, values = new Float32Array(rows * columns)) {
  return {rows, columns, values};
}

// The matrix A, filtered by the kernel K, which never leaves A: for padding "same", pad A before.
// stride: by how many elements K moves from one output to the next. B: what to write to; if it has
// not the size of the output, a new matrix is made.
function convolve(A, K, stride = 1, B = null) {
  const rows = placesAlong(A.rows, K.rows, stride);
  const columns = placesAlong(A.columns, K.columns, stride);
  if (B?.rows !== rows || B.columns !== columns) {
    B = matrix(rows, columns);
  }
  // The weights that are not 0, and how far from the first element of the window each one lies.
  const places = [...K.values.keys()].filter((place) => K.values[place] !== 0);
  const weights = new Float64Array(places.length + 4), steps = new Int32Array(places.length + 4);
  places.forEach((place, index) => {
    weights[index] = K.values[place];
    steps[index] = Math.floor(place / K.columns) * A.columns + place % K.columns;
  });
  const sums = new Float64Array(columns);
  for (let row = 0; row < rows; row++) {
    sums.fill(0);
    for (let each = 0; each < places.length; each += 5) {  // the last ones may be 0
      addFiveProducts(sums, A.values, row * stride * A.columns, stride, weights, steps, each);
    }
    B.values.set(sums, row * columns);
  }
  return B;
}

// "We then slide K to the right": add to each sum of a row the products of five weights, from `each`
// on, with the numbers that they lie on. Five at once are faster than one by one.
function addFiveProducts(sums, numbers, first, stride, weights, steps, each) {
  const a = weights[each], b = weights[each + 1], c = weights[each + 2], d = weights[each + 3];
  const e = weights[each + 4], i = first + steps[each], j = first + steps[each + 1];
  const k = first + steps[each + 2], l = first + steps[each + 3], m = first + steps[each + 4];
  for (let column = 0, at = 0; column < sums.length; column++, at += stride) {
    sums[column] = sums[column] + a * numbers[i + at] + b * numbers[j + at] +
      c * numbers[k + at] + d * numbers[l + at] + e * numbers[m + at];
  }
}

// In how many places a kernel of C elements fits into a length; 0 if it does not fit at all.
function placesAlong(length, C, stride) {
  return Math.max(0, Math.floor((length - C) / stride) + 1);
}

// A with a border of zeros, so many elements wide: "assume all elements outside A have a certain
// default value".
function pad(A, border) {
  const padded = matrix(A.rows + 2 * border, A.columns + 2 * border);
  for (let row = 0; row < A.rows; row++) {
    const numbers = A.values.subarray(row * A.columns, (row + 1) * A.columns);
    padded.values.set(numbers, (row + border) * padded.columns + border);
  }
  return padded;
}

// What is negative becomes 0.
function relu(A) {
  return matrix(A.rows, A.columns, A.values.map((value) => Math.max(0, value)));
}

// "Halve height and width, by picking the max values over 2x2 blocks." An odd last row or column
// belongs to no block and is dropped.
function maxPool(A) {
  const B = matrix(A.rows >> 1, A.columns >> 1);
  for (let row = 0; row < B.rows; row++) {
    for (let column = 0; column < B.columns; column++) {
      const above = 2 * row * A.columns + 2 * column, below = above + A.columns;
      B.values[row * B.columns + column] = Math.max(
        A.values[above], A.values[above + 1], A.values[below], A.values[below + 1]);
    }
  }
  return B;
}
