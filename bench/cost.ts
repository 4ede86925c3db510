/**
 * What the programs of a tool add to a connect, in instructions of the kernel's CPU, next to libbpf-tools'
 * tcpconnlat: an emulated machine whose clock counts instructions makes the same connects with each. Needs
 * QEMU.
 */
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { runInGuest } from '../test/vm/guest.ts';
import { rootDisk, withProjectDisk } from '../test/vm/image.ts';
import { kernelOf } from '../test/vm/kernel.ts';
import type { Costs } from './cost-guest.ts';
import type { Row } from './measure.ts';

const KERNEL = '6.12';
const SECONDS = 600;

/** The largest share of the reference's instructions for each probe type. */
const BARS: Readonly<Partial<Record<string, number>>> = { fentry: 0.9 };

export async function cost(): Promise<Row[]> {
  const { reference, probes } = await inGuest();
  return Object.entries(probes).map(([probe, figure]) => {
    const ratio = figure / reference;
    const bar = BARS[probe];
    return {
      measure: `${probe}: instructions of all programs per connect`,
      figure: figure.toFixed(0),
      reference: `libbpf-tools: ${reference.toFixed(0)}`,
      ratio,
      ...(bar !== undefined && { bar: `ratio ${bar}`, met: ratio <= bar }),
    };
  });
}

/** Runs `cost-guest.ts` in a guest. @throws {Error} if it fails there. */
async function inGuest(): Promise<Costs> {
  const kernel = await kernelOf(KERNEL);
  const root = await rootDisk(kernel.processor);
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const [output, errors] = [text(stdout), text(stderr)];
  const outcome = await withProjectDisk((projectDisk) =>
    runInGuest(
      { kernel, rootDisk: root, projectDisk, counting: true },
      { script: 'exec node build/bench/cost-guest.js', seconds: SECONDS, stdout, stderr },
    ),
  );
  stdout.end();
  stderr.end();
  if (outcome.status !== 0)
    throw new Error(`the guest: ${outcome.failure ?? `exit status ${outcome.status}`}\n${await errors}`);
  return JSON.parse(await output);
}
