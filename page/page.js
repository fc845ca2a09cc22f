"use strict";
// What starts the page, and opens other pictures.
//
// window.page is for programs, such as the tests: what the page shows, as numbers.
//
//   await page.ready                the embedded picture is shown
//   await page.open(file)           show another picture, a File, as if it had been dropped
//   page.reset()                    as it was when it was opened; a promise
//   page.message()                  the sentence about the last picture that could not be opened
//   page.settings(), page.update(changes)        kernel, channel, padding, stride, relu, pooling
//   page.picture()                  {rows, columns, values}: the numbers that are filtered
//   page.filtered()                 the same of the result
//   page.place(), page.moveTo(row, column)       the window: submatrix, products, sum, result
//   page.timings()                  milliseconds: edit, of the last one until it was on the screen;
//                                   opened, of the last picture, until its prediction was
//   page.network                    null without a network, or
//     .input()                      {width, height, pixels}: its input, red, green and blue
//     .layers()                     [{name, shape, values}]: the activations of all layers
//     .probability(), .label()      of the first class; the class at the run's threshold;
//                                   null if the page does not know them
//     .isWhole                      whether the page computes all layers
//     .choose(block, filter), .moveWindow(row, column), .place()    a feature map and its window
//     .cover(), .moveCover(row, column)                             the grey square
//     .decision()                   {contributions, bias, logits}: what the units add to the logit
//     .switchOff(block, filter, off = true), .off()                 feature maps, switched off
//     .heat()                       {values, covers}: the heat map; null until it is computed
//     .effects(block)               the probability without each map; null until it is known
//     .sentences()                  what a saved picture says below the prediction
//     .learning                     null, or {epochs, kernels(index), words()}

function startPage() {
  const data = JSON.parse(byId("data").textContent);
  pillow.version = data.pillow;
  const kernelPart = startKernelPart(data.presets, data.settings, writeAddress);
  const networkPart = data.network && startNetworkPart(data.network, {
    changed: writeAddress,
    sendKernel(settings, input) {
      kernelPart.show(input, "the network's input", "");
      kernelPart.update(settings);
      byId("kernel-part").scrollIntoView();
      byId("preset").focus({preventScroll: true});
    }});
  const timings = {};
  let last;  // of the files that were opened
  let current;  // the one whose prediction is shown
  let shownName = data.picture.name;
  const numbersOf = ({rows, columns, values}) => ({rows, columns, values: Array.from(values)});

  // ---- the picture -------------------------------------------------------------------------

  function entitle(name) {
    shownName = name;
    byId("input-caption").textContent = name;
    for (const button of document.querySelectorAll(".examples button")) {
      const isShown = button === current?.button;
      button.setAttribute("aria-pressed", isShown);
      byId("input-caption").textContent += isShown ? ` (${button.textContent})` : "";
    }
    document.title = networkPart ? `What a network sees in ${name}`
      : `What a convolution does to ${name}`;
  }

  // The embedded picture: as the first part shows it, and as data.load_image made it.
  async function showEmbedded() {
    const {name, png, full_size: [width, height]} = data.picture;
    const picture = {...await loadShown(openPicture(fromBase64(png), name)), full: {width, height}};
    let predicted;
    if (networkPart) {
      const {input, input_size: size, probability, classes} = data.network;
      const image = await loadImage(openPicture(fromBase64(input), name), ...size);
      predicted = networkPart.show(image, picture, probability);
      networkPart.showComparison(
        `TensorFlow computes ${probability.toFixed(6)} for ${classes[0]} from the unrounded ` +
        `weights${networkPart.isWhole ?
          `, this page ${networkPart.probability().toFixed(6)}` : ""}.`);
    }
    kernelPart.show(picture, name, noteOf(picture));
    entitle(name);
    await predicted;
    networkPart?.explain();
  }

  const noteOf = ({width, full}) =>
    width === full.width ? "" : `, scaled down from ${full.width} x ${full.height}`;

  // Another picture takes the place of the one shown, in both parts. While it is decoded, one more
  // can be dropped: the last one is shown.
  async function open(file) {
    const started = performance.now();
    last = file;
    byId("message").textContent = "";
    byId("working").textContent = `Opening ${file.name} \u2026`;
    dispatchEvent(new Event("busy"));  // see workers.js
    try {
      const [picture, input] = await decode(file);
      if (file !== last) {
        return;
      }
      current = file;
      if (networkPart) {
        networkPart.showComparison("");
        await networkPart.show(input, picture);
        timings.opened = performance.now() - started;
        if (file !== current) {
          return;
        }
        networkPart.explain();
      }
      kernelPart.show(picture, file.name, noteOf(picture));
      entitle(file.name);
      say(`${file.name} is shown. ${byId("probability").textContent}`);
    } catch (error) {
      if (file === last) {
        byId("message").textContent = error instanceof PictureError ? error.message
          : `${file.name} cannot be opened (${error.message}). Choose another picture.`;
        byId("message").scrollIntoView({block: "nearest"});
      }
    } finally {
      if (file === last) {
        byId("working").textContent = "";
      }
    }
  }

  // A file as the picture to be shown and, for a network, as its input.
  async function decode(file) {
    if (file.size > 100e6) {
      throw new PictureError(`${file.name} has ${Math.round(file.size / 1e6)} MB: more than 100. ` +
                             "Choose a smaller picture.");
    }
    const read = openPicture(new Uint8Array(await file.arrayBuffer()), file.name);
    return Promise.all([
      loadShown(read), data.network && loadImage(read, ...data.network.input_size)]);
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

  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find(({type}) => type.startsWith("image/"));
    if (file) {
      event.preventDefault();
      open(file);
    }
  });

  // Pictures of the run that can be clicked, with the class that they are of and that is predicted.
  function showExamples(examples) {
    byId("examples").hidden = false;
    byId("examples").lastElementChild.append(...examples.map(({name, label, probability, jpeg}) => {
      const bytes = fromBase64(jpeg), {classes, threshold} = data.network;
      const predicted = Math.fround(probability) > Math.fround(threshold) ? 0 : 1;
      const canvas = element("canvas");
      const caption = predicted === label ? classes[label]
        : `${classes[label]}, taken for ${classes[predicted]}`;
      const button = element("button", {type: "button", title: name}, canvas, caption);
      button.addEventListener("click", () =>
        open(Object.assign(new File([bytes], name), {button})));
      loadShown(openPicture(bytes, name)).then((picture) => drawPicture(canvas, picture));
      return button;
    }));
  }

  // ---- the address, and what is taken away ---------------------------------------------------

  const address = () => `#${kernelPart.address()}${networkPart ? networkPart.address() : ""}`;

  function writeAddress() {
    if (location.hash !== address()) {  // to write it takes ten milliseconds
      history.replaceState(null, "", address());
    }
  }

  // Take over what stands after # in the address, and name what is wrong there.
  function readAddress() {
    const fields = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
    const wrong = kernelPart.readAddress(fields);
    const known = new Set(["kernel", "channel", "padding", "stride", "bias", "relu", "pooling",
                           "row", "column", "layer", "map", "maprow", "mapcolumn", "off"]);
    wrong.push(...Object.keys(fields).filter((name) => !known.has(name)));
    return {fields, wrong};
  }

  function useAddress() {
    if (byId(location.hash.slice(1))) {  // a link to a part of this page was followed
      writeAddress();
      return;
    }
    const {fields, wrong} = readAddress();
    kernelPart.showSettings();
    kernelPart.update({});
    if (fields.row !== undefined || fields.column !== undefined) {
      kernelPart.moveTo(Number(fields.row) || 0, Number(fields.column) || 0);
    }
    wrong.push(...(networkPart ? networkPart.readAddress(fields) : []));
    if (wrong.length) {
      byId("message").textContent = `The address of this page is damaged (${
        wrong.map((name) => name.slice(0, 40)).join(", ")}): that part of it is ignored. Copy the ` +
        "link again.";
    }
  }

  async function copyLink() {
    const {row, column} = kernelPart.atPlace();
    const link = `${location.href.split("#")[0]}${address()}&row=${row}&column=${column}`;
    let isCopied = true;
    try {
      await navigator.clipboard.writeText(link);
    } catch {  // not allowed here: the reader copies it
      isCopied = false;
    }
    byId("link").hidden = isCopied;
    byId("link").value = link;
    byId("working").textContent = isCopied
      ? "The link is copied. It holds the kernel, the window and the switches, not the picture."
      : "Copy this link. It holds the kernel, the window and the switches, not the picture.";
    if (!isCopied) {
      byId("link").select();
    }
  }

  let isSaving = false;

  // The pictures side by side as they are shown, with what is said of them below, as a PNG file.
  async function savePicture() {
    if (isSaving) {
      return;
    }
    isSaving = true;
    byId("working").textContent = "The picture is saved when the heat map is complete \u2026";
    while (networkPart?.isWhole && !networkPart.heat()) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    byId("working").textContent = "";
    isSaving = false;
    const canvases = (networkPart ?? kernelPart).canvases(), height = 480, gap = 12;
    const shown = canvases.map((each) => each.getBoundingClientRect());
    const widths = shown.map((box) => Math.round(box.width / box.height * height));
    const label = networkPart ? byId("label").textContent
      : `kernel ${kernelPart.settings.kernel.map((weight) => textOfWeight(weight)).join(" ")}`;
    const lines = [`${shownName}: ${label}`, ...(networkPart ? networkPart.sentences() : [])];
    const canvas = element("canvas", {width: widths.reduce((sum, width) => sum + width + gap, gap),
                                      height: height + 28 + 32 * lines.length});
    const context = canvas.getContext("2d");
    context.fillStyle = "white";
    context.fillRect(0, 0, canvas.width, canvas.height);
    Object.assign(context, {imageSmoothingEnabled: false, strokeStyle: "white", lineWidth: 3});
    let left = gap;
    canvases.forEach((each, index) => {
      context.drawImage(each, left, gap, widths[index], height);
      const frame = each.parentElement.querySelector(".window");
      const box = frame.getBoundingClientRect(), scale = height / shown[index].height;
      const place = [left + scale * (box.left - shown[index].left), gap +
        scale * (box.top - shown[index].top), scale * box.width, scale * box.height];
      context.fillStyle = getComputedStyle(frame).backgroundColor;  // grey where it covers
      context.fillRect(...place);
      context.strokeRect(...place);
      left += widths[index] + gap;
    });
    context.fillStyle = "black";
    lines.forEach((line, index) => {
      context.font = `${index === 0 ? 24 : 18}px sans-serif`;
      context.fillText(line, gap, height + 44 + 32 * index, canvas.width - 2 * gap);
    });
    canvas.toBlob((blob) => {
      const link = element("a", {href: URL.createObjectURL(blob),
                                 download: `${shownName.replace(/\.[^.]*$/, "")}-page.png`});
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    });
  }

  // As the page was when it was opened.
  async function reset() {
    last = current = null;
    networkPart?.reset();
    byId("message").textContent = byId("working").textContent = "";
    byId("link").hidden = true;
    await showEmbedded();
    await kernelPart.reset();
  }

  addEventListener("hashchange", useAddress);
  byId("copy-link").addEventListener("click", copyLink);
  byId("save-picture").addEventListener("click", savePicture);
  byId("reset").addEventListener("click", reset);
  if (networkPart) {  // it comes first: the prediction is what one wants to see
    byId("kernel-part").before(byId("network-part"));
    byId("title").textContent = `What a network sees: ${data.network.classes[0]} or ` +
      `${data.network.classes[1]}?`;
    document.body.classList.add("has-network");
  } else {
    byId("no-network").hidden = false;
  }
  if (data.network?.examples?.length) {
    showExamples(data.network.examples);
  }

  window.page = {
    ready: showEmbedded().then(() => location.hash.length > 1 && useAddress()).catch(
      (error) => { byId("message").textContent = error.message; }).finally(() => {
      byId("working").textContent = "";
      document.body.classList.remove("starting");
    }),
    open, reset,
    message: () => byId("message").textContent,
    settings: () => ({...kernelPart.settings}),
    update: kernelPart.update,
    picture: () => numbersOf(kernelPart.numbers()),
    filtered: () => numbersOf(kernelPart.filtered()),
    place: kernelPart.atPlace,
    moveTo: kernelPart.moveTo,
    timings: () => ({...timings, ...kernelPart.timings, ...networkPart?.timings,
                      ...networkPart?.whyTimings()}),
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
