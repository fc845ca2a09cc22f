"use strict";
// What starts the page, and opens other pictures.
//
// window.page is for programs, such as the tests: what the page shows, as numbers.
//
//   await page.ready                the embedded picture is shown
//   await page.open(file)           show another picture, a File, as if it had been dropped
//   page.message()                  the sentence about the last picture that could not be opened
//   page.settings(), page.update(changes)        kernel, channel, padding, stride, relu, pooling
//   page.picture()                  {rows, columns, values}: the numbers that are filtered
//   page.filtered()                 the same of the result
//   page.place(), page.moveTo(row, column)       the window: submatrix, products, sum, result
//   page.timings()                  milliseconds: edit, of the last one until it was on the screen;
//                                   opened, of the last picture, from its bytes to the prediction
//   page.network                    null without a network, or
//     .input()                      {width, height, pixels}: its input, red, green and blue
//     .layers()                     [{name, shape, values}]: the activations of all layers
//     .probability(), .label()      of the first class; the class at the run's threshold;
//                                   null if the page does not know them
//     .isWhole                      whether the page computes all layers
//     .choose(block, filter), .moveWindow(row, column), .place()    a feature map and its window
//     .cover(), .moveCover(row, column)                             the grey square

function startPage() {
  const data = JSON.parse(byId("data").textContent);
  pillow.version = data.pillow;
  const kernelPart = startKernelPart(data.presets, data.settings);
  const networkPart = data.network && startNetworkPart(data.network, (settings) => {
    kernelPart.update(settings);
    byId("kernel-part").scrollIntoView();
    byId("preset").focus({preventScroll: true});
  });
  byId("no-network").hidden = Boolean(data.network);
  const timings = {};
  let last;  // of the files that were opened
  const numbersOf = ({rows, columns, values}) => ({rows, columns, values: Array.from(values)});

  // The embedded picture: as the first part shows it, and as data.load_image made it.
  async function showEmbedded() {
    const {name, png, full_size: [width, height]} = data.picture;
    const picture = await decodePicture(fromBase64(png), name);
    if (networkPart) {
      const {input, probability, classes} = data.network;
      const image = await decodePicture(fromBase64(input), name);
      networkPart.show(image, probability);
      networkPart.showComparison(
        `TensorFlow computes ${probability.toFixed(6)} for ${classes[0]} from the unrounded ` +
        `weights${networkPart.isWhole ?
          `, this page ${networkPart.probability().toFixed(6)}` : ""}.`);
    }
    kernelPart.show(picture, name, noteOf(picture, width, height));
  }

  const noteOf = (picture, width, height) =>
    picture.width === width && picture.height === height ? ""
      : `, scaled down from ${width} x ${height}`;

  // Another picture takes the place of the one shown, in both parts. While it is decoded, one more
  // can be dropped: the last one is shown.
  async function open(file) {
    last = file;
    byId("message").textContent = "";
    try {
      if (file.size > 100e6) {
        throw new PictureError(`${file.name} has ${Math.round(file.size / 1e6)} MB: more than ` +
                               "100. Choose a smaller picture.");
      }
      const bytes = new Uint8Array(await file.arrayBuffer()), started = performance.now();
      const full = await decodePicture(bytes, file.name);
      if (file !== last) {
        return;
      }
      if (networkPart) {
        const [height, width] = data.network.input_size;
        networkPart.showComparison("");
        networkPart.show(loadImage(full, height, width, isJpeg(bytes)));
        timings.opened = await untilShown(started);
      }
      const picture = atMostLongestSide(full);
      kernelPart.show(picture, file.name, noteOf(picture, full.width, full.height));
      say(`${file.name} is shown. ${byId("probability").textContent}`);
    } catch (error) {
      if (file !== last) {
        return;
      }
      byId("message").textContent = error instanceof PictureError ? error.message
        : `${file.name} cannot be opened (${error.message}). Choose another picture.`;
      byId("message").scrollIntoView({block: "nearest"});
    }
  }

  byId("file").addEventListener("change", ({target}) => {
    if (target.files.length) {
      open(target.files[0]);
      target.value = "";  // so that the same file can be chosen again
    }
  });
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    addEventListener(kind, (event) => {
      event.preventDefault();
      document.body.classList.toggle("dropping", kind === "dragenter" || kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files.length) {
        open(event.dataTransfer.files[0]);
      }
    });
  }

  document.title = `What a convolution does to ${data.picture.name}`;
  window.page = {
    ready: showEmbedded().catch((error) => { byId("message").textContent = error.message; }),
    open,
    message: () => byId("message").textContent,
    settings: () => ({...kernelPart.settings}),
    update: kernelPart.update,
    picture: () => numbersOf(kernelPart.numbers()),
    filtered: () => numbersOf(kernelPart.filtered()),
    place: kernelPart.atPlace,
    moveTo: kernelPart.moveTo,
    timings: () => ({...timings, ...kernelPart.timings, ...networkPart?.timings}),
    network: networkPart && {
      ...networkPart,
      input: () => ({...networkPart.input(), pixels: Array.from(networkPart.input().pixels).filter(
        (_, place) => place % 4 !== 3)}),
      layers: () => networkPart.outputs().map(({shape, values}, index) => ({
        name: data.network.layers[index].name, shape, values: Array.from(values)})),
      place: networkPart.atPlace,
      cover: () => ({...networkPart.square}),
    },
  };
}

startPage();
