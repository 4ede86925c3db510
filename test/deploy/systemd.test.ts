/** The unit of deploy/systemd: valid, and as confined as docs/deploy.md says. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { suite } from '../harness.ts';
import { PROJECT } from '../vm/image.ts';
import { DEPLOY } from './packages.ts';

const test = suite('deploy/systemd', { seconds: 30 });

const UNIT = join(DEPLOY, 'systemd/tcpconnlat.service');
const unit = readFileSync(UNIT, 'utf8');

const noSystemd =
  spawnSync('systemd-analyze', ['--version']).status !== 0 && 'systemd-analyze is not installed';

function analyze(...args: string[]): string {
  const { stdout, stderr } = spawnSync('systemd-analyze', args, {
    encoding: 'utf8',
    env: { ...process.env, SYSTEMD_COLORS: '0', SYSTEMD_EMOJI: '0' },
  });
  return stdout + stderr;
}

/** The unit with a program that exists. */
function verified(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'tsbpf-unit-'));
  try {
    const file = join(folder, 'tcpconnlat.service');
    writeFileSync(file, text.replaceAll('/usr/local/bin/tcpconnlat', process.execPath));
    return analyze('verify', '--man=no', file);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

for (const name of ['by-unit.conf', 'network.conf'])
  test.skipIf(noSystemd, `systemd accepts the unit with ${name}`, () => {
    const addition = readFileSync(join(DEPLOY, 'systemd', name), 'utf8');
    assert.is(verified(unit), '');
    assert.is(verified(`${unit}\n${addition}`), '');
    assert.match(verified(unit.replace('ProtectSystem=', 'ProtectSistem=')), /ProtectSistem/);
  });

test.skipIf(noSystemd, 'the exposure level is at most that in docs/deploy.md', () => {
  const page = readFileSync(join(PROJECT, 'docs/deploy.md'), 'utf8');
  const [, stated] = /exposure level of (\d\.\d)/.exec(page) ?? [];
  const [, level] =
    /Overall exposure level for \S+: (\d\.\d)/.exec(analyze('security', '--offline=yes', UNIT)) ?? [];
  assert.ok(Number(level) <= Number(stated), `${level}, and the page says ${stated}`);
});

test('its capabilities are those of docs/capabilities.md', () => {
  const page = readFileSync(join(PROJECT, 'docs/capabilities.md'), 'utf8');
  const [, documented] = /`AmbientCapabilities=([^`]+)`/.exec(page) ?? [];
  for (const name of ['AmbientCapabilities', 'CapabilityBoundingSet']) {
    const values = [...unit.matchAll(new RegExp(`^${name}=(.*)$`, 'gm'))].map(([, value]) => value);
    assert.equal(values, [documented]);
  }
});

test.run();
