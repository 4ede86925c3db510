/**
 * Runs the tests on other releases of Node: `npm run test:node` on each major version except the one that
 * runs this, which `npm test` covers, and `npm run test:node -- 22 26` on these.
 *
 * On each release it compiles the commands' code caches, and runs the tests that need no lab and trace
 * nothing, and the smoke test (test/live/smoke.test.ts). The last lines report each release and the sum.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { chmod, copyFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BROKEN, formatSummary, type Summary, sum, summaryOf } from '../summary.ts';
import { withScratch } from '../vm/cache.ts';
import { run } from '../vm/command.ts';
import { PROJECT } from '../vm/image.ts';
import { majorOf, type NodeRelease, nodeFolder, RELEASES } from './node.ts';

const TESTS = dirname(dirname(fileURLToPath(import.meta.url)));

/** The releases of these major versions, or all but the running one. */
function releasesOf(majors: readonly string[]): readonly NodeRelease[] {
  const unknown = majors.find((major) => !RELEASES.some(({ version }) => majorOf(version) === major));
  if (unknown !== undefined)
    throw new Error(`${unknown}: not one of ${RELEASES.map(({ version }) => majorOf(version)).join(', ')}`);
  const running = majorOf(process.versions.node);
  return RELEASES.filter(({ version }) =>
    majors.length > 0 ? majors.includes(majorOf(version)) : majorOf(version) !== running,
  );
}

/**
 * The words that select all tests except those of the running kernel, of servers and of deployments, and the
 * smoke test.
 */
function words(): string[] {
  const entries = readdirSync(TESTS, { withFileTypes: true });
  const folders = entries.filter(
    (entry) => entry.isDirectory() && !['deploy', 'lab', 'live', 'servers'].includes(entry.name),
  );
  const files = entries.filter(({ name }) => name.endsWith('.test.js'));
  return [
    ...folders.map(({ name }) => `test/${name}/`),
    ...files.map(({ name }) => `test/${name}`),
    'test/live/smoke.',
  ];
}

/** Runs the tests with a release, prints their output, and returns their summary. */
async function runWith(release: NodeRelease): Promise<Summary> {
  const cached = await nodeFolder(release);
  return withScratch(async (folder) => {
    // Some tests run Node as another user, who may not enter the cache.
    await chmod(folder, 0o755);
    await copyFile(join(cached, 'node'), join(folder, 'node'));
    return runTests(folder);
  });
}

/** Runs the tests with the release whose `node` is in a folder. */
async function runTests(folder: string): Promise<Summary> {
  const node = join(folder, 'node');
  // Code caches for this release, beside those of the build. They have no programs, so the tests run the
  // builder.
  await run(node, [join(PROJECT, 'code-cache/make.mjs')]);
  // Programs that the tests start, such as npm, use the same release.
  const env = { ...process.env, PATH: `${folder}${delimiter}${process.env.PATH}` };
  const child = spawn(node, ['--enable-source-maps', join(TESTS, 'run.js'), ...words()], {
    cwd: PROJECT,
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    process.stdout.write(text);
  });
  const kill = (): boolean => child.kill();
  process.once('exit', kill);
  const [status] = await once(child, 'close');
  process.off('exit', kill);
  return summaryOf(output, status ?? 1);
}

/** Runs the tests with each release in turn; a release that cannot be fetched or started is a failure. */
export async function runReleases(majors: readonly string[] = []): Promise<Summary> {
  const lines: string[] = [];
  const summaries: Summary[] = [];
  for (const release of releasesOf(majors)) {
    const start = performance.now();
    const title = `Node ${release.version}`;
    console.log(`\n== ${title}\n`);
    const summary = await runWith(release).catch((error: Error) => {
      console.log(`${title} is not available: ${error.message}`);
      return BROKEN;
    });
    summaries.push(summary);
    const seconds = ((performance.now() - start) / 1000).toFixed(0);
    lines.push(`${title.padEnd(44)} ${formatSummary(summary).padEnd(36)} ${seconds.padStart(4)} s`);
  }
  console.log(`\n${lines.join('\n')}`);
  return sum(summaries);
}
