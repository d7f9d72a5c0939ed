// The requests of this page that may be under way at once.

// Requests that TorchServe puts into one batch get maps that differ in the last bits from those of a request alone. So
// that a link always gives the same maps, only as many requests are sent at once as cannot share a batch.
export class Turns {
  constructor(most) {
    this.free = most;
    this.waiting = [];
  }

  // Does work when it is its turn; work whose signal has been aborted by then is not done.
  async take(work, signal) {
    if (this.free > 0) this.free -= 1;
    else await new Promise((resolve) => { this.waiting.push(resolve); });
    try {
      signal?.throwIfAborted();
      return await work();
    } finally {
      const next = this.waiting.shift();
      if (next) next();
      else this.free += 1;
    }
  }
}
