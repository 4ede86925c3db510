/**
 * What `--requested` adds to every system call of the machine with the probes that need a program at
 * sys_enter: the time of getppid(2), which does almost nothing, without and with it.
 */
import { target } from '../src/asm/target.ts';
import { Kernel } from '../src/loader/kernel.ts';
import { Session } from '../src/loader/session.ts';
import type { ProbeType } from '../src/programs/tcpconnlat/options.ts';
import { tcpconnlat } from '../src/programs/tcpconnlat.ts';
import { type Row, takeTurns } from './measure.ts';
import { Worker } from './worker.ts';

const ROUNDS = 11;
const CALLS = 500_000;

export async function calls(): Promise<Row[]> {
  const kernel = new Kernel();
  const { worker } = await Worker.start('caller.js');
  const nsOfOne = async () => (1e9 * (await worker.work(String(CALLS)))) / CALLS;
  const traced = (probe: ProbeType) => async () => {
    const tool = tcpconnlat({ probe, requested: true }, target(process.arch, kernel.btf));
    const session = Session.open(tool, { kernel, onEvent() {} });
    try {
      return await nsOfOne();
    } finally {
      session.close();
    }
  };
  try {
    await nsOfOne(); // compiles the loop
    const { plain, ...probes } = await takeTurns(ROUNDS, {
      plain: nsOfOne,
      tp_btf: traced('tp_btf'),
      raw_tracepoint: traced('raw_tracepoint'),
    });
    return Object.entries(probes).map(([probe, ns]) => ({
      measure: `${probe} with --requested: a short system call`,
      figure: `${ns.toFixed(0)} ns`,
      reference: `not traced: ${plain.toFixed(0)} ns`,
      ratio: ns / plain,
    }));
  } finally {
    worker.end();
  }
}
