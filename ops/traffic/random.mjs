// Numbers that look random and are the same for the same seed on every machine.
import { createHash } from 'node:crypto';

export class Random {
  constructor(seed) {
    this.seed = String(seed);
    this.state = createHash('sha256').update(this.seed).digest().readUInt32LE();
  }

  /** At least 0, below 1 (the generator is mulberry32). */
  next() {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  chance(probability) {
    return this.next() < probability;
  }

  /** A whole number from `least` to `most`, both included. */
  between(least, most) {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  pick(list) {
    return list[Math.floor(this.next() * list.length)];
  }

  /** Like `pick`, but the earlier an entry the likelier it is: some are busy, most are not. */
  pickSkewed(list) {
    return list[Math.floor(this.next() ** 2 * list.length)];
  }

  /** One of [[weight, value], …]. */
  pickWeighted(choices) {
    let left = this.next() * choices.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, value] of choices) {
      left -= weight;
      if (left < 0) return value;
    }
    return choices.at(-1)[1];
  }

  /** The address numbered `index` of this seed; nobody holds a key to it. */
  address(index) {
    return `0x${createHash('sha256').update(`${this.seed}/${index}`).digest('hex').slice(0, 40)}`;
  }
}
