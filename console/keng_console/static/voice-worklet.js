// Frames of 40 ms at 16 kHz out of whatever rate the browser has: what falls into one sample of ours is averaged.
class Frames extends AudioWorkletProcessor {
  constructor() {
    super();
    this.step = sampleRate / 16000;
    this.due = this.step;
    this.sum = this.count = this.energy = this.filled = 0;
    this.frame = new Int16Array(640);
  }

  process([[samples]]) {
    for (const value of samples ?? []) {
      this.sum += value;
      this.count += 1;
      this.due -= 1;
      if (this.due > 0) continue;
      this.due += this.step;
      const mean = Math.max(-1, Math.min(1, this.sum / this.count));
      this.sum = this.count = 0;
      this.energy += mean * mean;
      this.frame[this.filled++] = Math.round(mean * 32767);
      if (this.filled < this.frame.length) continue;
      const sound = this.frame.buffer;
      this.port.postMessage({ sound, dbfs: 10 * Math.log10(this.energy / this.filled + 1e-9) }, [sound]);
      this.frame = new Int16Array(640);
      this.energy = this.filled = 0;
    }
    return true;
  }
}

registerProcessor("frames", Frames);
