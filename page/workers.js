"use strict";
// Other cores of the computer, which ask the network many questions while the page stays usable:
// what is the probability with a square covered, or without one of the feature maps?

// What runs in a worker: each message shows it a picture or asks for one probability.
function serveWorker() {
  let network, off, twins;  // the picture and, for --tta, its mirror image, with all activations
  const TASKS = {
    cover({row, column, size}) {
      return twins.map(({input, outputs, mirrored}) => {
        const [, width] = input.shape, left = mirrored ? width - column - size : column;
        const part = {top: row, left, bottom: row + size, right: left + size};
        const covered = tensor(input.shape, input.values.slice());
        for (let line = row; line < row + size; line++) {
          const first = 3 * (line * width + left);
          covered.values.fill(GREY, first, first + 3 * size);
        }
        return logitAfter(network, outputs, 0, covered, part, off);
      });
    },
    without({layer, map}) {
      return twins.map(({outputs}) => {
        const maps = tensor(outputs[layer].shape, outputs[layer].values.slice());
        silence(maps, layer, [{layer, map}]);
        return logitAfter(network, outputs, layer + 1, maps, wholeOf(maps.shape), off);
      });
    },
  };
  addEventListener("message", ({data}) => {
    if (data.network) {
      network = data.network;
    } else if (data.picture) {
      off = data.off;
      const pictures = [data.picture, ...(network.tta ? [mirror(data.picture)] : [])];
      twins = pictures.map((picture, index) => ({
        input: inputOf(picture), mirrored: index === 1,
        outputs: activationsOf(network, picture, off)}));
    } else {
      const probabilities = TASKS[data.task.kind](data.task).map(sigmoid);
      const sum = probabilities.reduce((total, each) => total + each);
      postMessage({...data, probability: sum / probabilities.length});
    }
  });
}

// A worker that has the parts of the page that compute a network.
function startWorker() {
  const parts = ["network.js", "workers.js"].map((file) =>
    document.querySelector(`script[data-file="${file}"]`).textContent);
  const address = URL.createObjectURL(
    new Blob([...parts, "serveWorker();"], {type: "text/javascript"}));
  const worker = new Worker(address);
  URL.revokeObjectURL(address);
  return worker;
}

// One worker for each core, up to four. show(picture, off) ends what they were asked before;
// ask(tasks, told) resolves to the tasks with their probabilities, unless show() or stop() comes
// first. told(done) is called after each one with those that are done.
function startWorkers(network) {
  const workers = Array.from({length: Math.max(1, Math.min(4, navigator.hardwareConcurrency))},
                             startWorker);
  let job = 0, waiting = [], done = [], resting = 0, finish, tell;

  // Ask a worker the next question. While someone edits a kernel or opens a picture it rests: where
  // there are only two cores, they would wait for it.
  function next(worker) {
    const rest = resting - performance.now();
    if (rest > 0) {
      setTimeout(next, rest, worker);
    } else if (waiting.length) {
      worker.postMessage({job, task: waiting.shift()});
    }
  }
  for (const event of ["busy", "focusin"]) {
    addEventListener(event, () => { resting = performance.now() + 400; });
  }

  for (const worker of workers) {
    worker.postMessage({network});
    worker.addEventListener("message", ({data}) => {
      if (data.job === job) {
        done.push({...data.task, probability: data.probability});
        tell(done);
        next(worker);
        if (done.length === finish.count) {
          finish.resolve(done);
        }
      }
    });
  }

  function stop() {
    job++;
    waiting = [];
  }

  return {
    stop,
    show({width, height, pixels}, off) {
      stop();
      workers.forEach((worker) => worker.postMessage({picture: {width, height, pixels}, off}));
    },
    ask(tasks, told = () => {}) {
      stop();
      return new Promise((resolve) => {
        [waiting, done, tell, finish] = [[...tasks], [], told, {resolve, count: tasks.length}];
        workers.forEach(next);
      });
    },
  };
}
