/**
 * A process that changes a map until it is killed. Its descriptor 3 is a hash map with u32 keys. The
 * arguments are the size of a value in bytes, the first key that is its own, and what it does: `insert` and
 * delete its own keys, `update` the keys below the last argument, or `add` its own keys in ascending order,
 * each once.
 */

import { bytes, u32 } from '../../src/asm/layout.ts';
import { hash } from '../../src/asm/map.ts';
import { Command, Descriptor } from '../../src/loader/bpf.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { Elements } from '../../src/loader/map/elements.ts';

const [valueBytes = 0, firstKey = 0] = process.argv.slice(2, 4).map(Number);
const shared = Number(process.argv[5]);
const kernel = new Kernel();
const spec = hash('writer', { key: u32, value: bytes(valueBytes), maxEntries: 1024 });
const elements = new Elements(kernel, spec, new Descriptor(kernel.syscalls, 3, 'the map'), valueBytes);
const chunk = elements.chunk(256);
const keys = new Uint32Array(chunk.keys.buffer);
chunk.count = chunk.capacity;

/** Fills the chunk, and writes it completely, also into a map that is full for some time. */
function write(command: Parameters<Elements['write']>[0], keyAt: (index: number) => number): void {
  for (let index = 0; index < keys.length; index++) keys[index] = keyAt(index);
  for (let done = 0; done < keys.length; ) {
    chunk.count = keys.length - done;
    const { failed } = elements.write(command, [chunk]);
    if (!failed) return;
    done += failed.index;
    keys.copyWithin(0, failed.index);
  }
}

console.log('up');
for (let round = 0; ; round++) {
  const ownKey = (ofRound: number) => (index: number) => firstKey + ((ofRound * 256 + index) % 100_000);
  if (process.argv[4] === 'insert') {
    // Deletes the keys of an earlier round, so that some always stay for a while.
    write(Command.mapUpdateBatch, ownKey(round));
    write(Command.mapDeleteBatch, ownKey(round + 99_995));
  } else if (process.argv[4] === 'update') {
    write(Command.mapUpdateBatch, () => Math.floor(Math.random() * shared));
  } else {
    write(Command.mapUpdateBatch, (index) => firstKey + round * 256 + index);
  }
}
