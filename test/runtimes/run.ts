/**
 * Runs the tests on other releases of Node: `npm run test:node` on each supported major version except the
 * one that runs this, which `npm test` covers, and `npm run test:node -- 22 26` on these.
 */
import { formatSummary } from '../summary.ts';
import { runReleases } from './releases.ts';

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));
const total = await runReleases(process.argv.slice(2));
console.log(`\n${formatSummary(total)}`);
process.exitCode = total.failed === 0 ? 0 : 1;
