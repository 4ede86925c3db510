import * as assert from 'uvu/assert';
import { nameLookup } from '../../../src/cli/printer/name-lookup.ts';
import type { ConnectRecord } from '../../../src/cli/record.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/printer/name-lookup');

const RECORD: ConnectRecord = {
  ...{ time_s: 0, pid: 1, comm: 'x', ip: 4, saddr: '10.0.0.1', lport: 1, lat_ms: 1 },
  ...{ daddr: '192.0.2.1', dport: 443 },
};
const SERVICES = new Map([[443, 'https']]);

/** A name lookup whose answers the test controls, and the printed records. */
function bench() {
  const asked = new Map<string, (names: string[]) => void>();
  const shown: ConnectRecord[] = [];
  const resolver = {
    reverse: (address: string) => new Promise<string[]>((resolve) => asked.set(address, resolve)),
    cancel() {},
  };
  const stage = nameLookup(resolver, SERVICES, (record) => shown.push(record));
  const add = (daddr: string, more: Partial<ConnectRecord> = {}) => stage.add({ ...RECORD, daddr, ...more });
  const answer = async (address: string, ...names: string[]) => {
    asked.get(address)?.(names);
    await new Promise((resolve) => setImmediate(resolve));
  };
  const hosts = () => shown.map(({ daddr, host }) => [daddr, host]);
  return { stage, shown, add, answer, hosts };
}

test('a record gets the names of its address and port', async () => {
  const { stage, shown, add, answer } = bench();
  add('192.0.2.1');
  await answer('192.0.2.1', 'db1.example', 'other.example');
  assert.equal(shown, [{ ...RECORD, host: 'db1.example', service: 'https' }]);
  add('192.0.2.1', { dport: 12_345 });
  assert.equal(shown[1], { ...RECORD, dport: 12_345, host: 'db1.example' }, 'at once, once it is known');
  stage.end();
});

test('a record without names is unchanged', async () => {
  const { stage, shown, add, answer } = bench();
  add('192.0.2.1', { dport: 12_345 });
  await answer('192.0.2.1');
  assert.equal(shown, [{ ...RECORD, dport: 12_345 }]);
  stage.end();
});

test('a record without an address waits for no name', async () => {
  const { stage, shown } = bench();
  const { daddr: _, dport: __, ...record } = RECORD;
  stage.add(record);
  assert.equal(shown, [record]);
  stage.end();
});

test('records stay in order: a named record waits for the record before it', async () => {
  const { stage, add, answer, hosts } = bench();
  add('192.0.2.1');
  add('192.0.2.2');
  await answer('192.0.2.2', 'second.example');
  assert.equal(hosts(), []);
  await answer('192.0.2.1', 'first.example');
  assert.equal(hosts(), [
    ['192.0.2.1', 'first.example'],
    ['192.0.2.2', 'second.example'],
  ]);
  stage.end();
});

test('a record waits only a few hundred ms for its name', async () => {
  const { stage, add, hosts } = bench();
  const begin = performance.now();
  add('192.0.2.1');
  await stage.settled();
  const waited = performance.now() - begin;
  assert.ok(waited > 200 && waited < 2000, `${waited} ms`);
  assert.equal(hosts(), [['192.0.2.1', undefined]]);
  add('192.0.2.1');
  assert.is(hosts().length, 2, 'nor does the next one for the same name');
  stage.end();
});

test('the queue is bounded: if it is full, the first record is printed without its name', () => {
  const { stage, add, hosts } = bench();
  for (let i = 0; i < 1000; i++) add(`10.1.${i >> 8}.${i & 255}`);
  assert.equal(hosts(), []);
  add('192.0.2.1');
  assert.equal(hosts(), [['10.1.0.0', undefined]]);
  stage.end();
  assert.is(hosts().length, 1001);
});

test('at the end the queued records are printed in order', async () => {
  const { stage, add, hosts } = bench();
  for (const last of [1, 2, 3]) add(`192.0.2.${last}`);
  stage.end();
  assert.equal(
    hosts().map(([daddr]) => daddr),
    ['192.0.2.1', '192.0.2.2', '192.0.2.3'],
  );
  await stage.settled();
});

test.run();
