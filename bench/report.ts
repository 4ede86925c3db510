/**
 * The report of a million connects: its size, and the times that a browser takes until it is loaded and its
 * first frame with the summary is painted, and until its charts and tables are complete. The reference is an
 * empty page of the same size: a word, and the report as a comment.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Browser } from '../test/cli/report/browser.ts';
import { writeRecording } from '../test/cli/report/synthetic.ts';
import { median, ms, type Row, takeTurns } from './measure.ts';
import { dist } from './process.ts';

const CONNECTS = 1_000_000;
const SECONDS = 3600;
const ROUNDS = 21;
const MAX_MB = 3;
const BAR = 2;
/** When the page was loaded, when it was painted first, and the time now, in ms after the request. */
const TIMES = `new Promise((done) => new PerformanceObserver((list) => {
  const painted = list.getEntriesByName('first-contentful-paint')[0];
  if (painted) done([performance.getEntriesByType('navigation')[0].loadEventEnd, painted.startTime, performance.now()]);
}).observe({ type: 'paint', buffered: true }))`;

export async function report(): Promise<Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'tsbpf-bench-'));
  try {
    return [...(await measure(folder, 400)), ...(await measure(folder, 5000))];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function measure(folder: string, destinations: number): Promise<Row[]> {
  const [recording, html, empty] = ['recording', 'report.html', 'empty.html'].map((name) =>
    join(folder, name),
  ) as [string, string, string];
  writeRecording(recording, { connects: CONNECTS, destinations, seconds: SECONDS });
  const args = [dist('tcpconnlat.cjs'), '-q', '--json', '--replay', recording, '--report', html];
  const { status } = spawnSync(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) throw new Error(`the replay ended with status ${status}`);
  rmSync(recording);
  const size = statSync(html).size;
  const comment = readFileSync(html, 'utf8').replaceAll('-->', '');
  writeFileSync(empty, `<!doctype html><meta charset="utf-8"><p>empty</p><!--${comment}-->`);
  const browser = await Browser.open();
  const complete: number[] = [];
  const open = (file: string) => async () => {
    const page = await browser.page();
    await page.open(file);
    await page.complete();
    const [loaded = 0, painted = 0, end = 0] = await page.evaluate<number[]>(TIMES);
    await page.close();
    if (file === html) complete.push(end);
    return Math.max(loaded, painted);
  };
  try {
    const times = await takeTurns(ROUNDS, { report: open(html), empty: open(empty) });
    const ratio = times.report / times.empty;
    const what = `a million connects to ${destinations.toLocaleString('en-US')} destinations`;
    return [
      {
        measure: `size of a report, ${what}`,
        figure: `${(size / 1e6).toFixed(2)} MB`,
        bar: `${MAX_MB} MB`,
        met: size < MAX_MB * 1e6,
      },
      {
        measure: `opening a report, ${what}`,
        figure: `${ms(times.report)}, complete after ${ms(median(complete))}`,
        reference: `an empty page of that size: ${ms(times.empty)}`,
        ratio,
        bar: `ratio ${BAR}`,
        met: ratio <= BAR,
      },
    ];
  } finally {
    await browser.close();
  }
}
