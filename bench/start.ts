/**
 * The time from exec to the header line. The reference is a node that does nothing.
 */
import { ms, type Row, takeTurns } from './measure.ts';
import { command, header, runTime, stop } from './process.ts';

const ROUNDS = 21;
const BAR = 1.45;

export async function start(): Promise<Row[]> {
  const { bare, traced } = await takeTurns(ROUNDS, {
    bare: () => runTime('-e', '0'),
    async traced() {
      const begin = performance.now();
      const child = command();
      await header(child);
      const duration = performance.now() - begin;
      await stop(child);
      return duration;
    },
  });
  const ratio = traced / bare;
  return [
    {
      measure: 'from exec to the header line',
      figure: ms(traced),
      reference: `node -e 0: ${ms(bare)}`,
      ratio,
      bar: `ratio ${BAR}`,
      met: ratio <= BAR,
    },
  ];
}
