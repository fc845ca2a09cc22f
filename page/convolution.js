"use strict";
// The article's "What is a convolution?", as the convolve_by_hand of filters.py has it, but for a
// whole row of places at once.
//
// A matrix is {rows, columns, values}: its numbers as a Float32Array, one row after the other.

function matrix(rows, columns, values = new Float32Array(rows * columns)) {
  return {rows, columns, values};
}

// The matrix A, filtered by the kernel K. With padding "same" all that lies outside A counts as 0;
// with "valid" the kernel never leaves A, and B is smaller. stride: by how many elements K moves
// from one output to the next.
function convolve(A, K, padding, stride = 1) {
  const C = K.rows;
  if (padding === "same") {
    A = pad(A, (C - 1) / 2);  // "assume all elements outside A have a certain default value"
  }
  const rows = placesAlong(A.rows, C, stride), columns = placesAlong(A.columns, C, stride);
  const B = matrix(rows, columns), sums = new Float64Array(columns);
  for (let row = 0; row < rows; row++) {
    sums.fill(0);
    for (let i = 0; i < C; i++) {
      for (let j = 0; j < C; j++) {  // one weight for all places of the row: faster
        const first = (row * stride + i) * A.columns + j;
        addMultiples(sums, A.values, first, stride, K.values[i * C + j]);
      }
    }
    B.values.set(sums, row * columns);
  }
  return B;
}

// "We then slide K to the right": add to each sum the product of this weight and the number that
// it lies on.
function addMultiples(sums, numbers, first, stride, weight) {
  for (let column = 0, from = first; column < sums.length; column++, from += stride) {
    sums[column] += weight * numbers[from];
  }
}

// In how many places a kernel of C elements fits into a length; 0 if it does not fit at all.
function placesAlong(length, C, stride) {
  return Math.max(0, Math.floor((length - C) / stride) + 1);
}

// A with a border of zeros, so many elements wide.
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
