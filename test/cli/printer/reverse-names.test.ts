import { promises } from 'node:dns';
import * as assert from 'uvu/assert';
import { type Limits, type Resolver, ReverseNames } from '../../../src/cli/printer/reverse-names.ts';
import { suite } from '../../harness.ts';
import { NameServer } from './name-server.ts';

const test = suite('cli/printer/reverse-names');

const soon = (ms = 0) => new Promise<void>((resolve) => setTimeout(resolve, ms));

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await soon(5);
}

/** Node's resolver with this server only. */
function resolverOf(server: NameServer): Resolver {
  const resolver = new promises.Resolver({ timeout: 300, tries: 1 });
  resolver.setServers([server.address]);
  return resolver;
}

/** A resolver whose queries the test answers. */
class Scripted implements Resolver {
  readonly asked = new Map<string, { answer(...names: string[]): void; refuse(): void }>();
  /** All queries in order. */
  readonly questions: string[] = [];
  cancelled = false;

  reverse(address: string): Promise<readonly string[]> {
    this.questions.push(address);
    return new Promise((resolve, reject) => {
      this.asked.set(address, {
        answer: (...names) => resolve(names),
        refuse: () => reject(new Error('ENOTFOUND')),
      });
    });
  }

  cancel(): void {
    this.cancelled = true;
  }

  get(address: string) {
    const question = this.asked.get(address);
    if (!question) throw new Error(`nobody asked for ${address}`);
    return question;
  }
}

/** A cache with a scripted resolver. */
function scripted(limits: Partial<Limits> = {}) {
  const resolver = new Scripted();
  const news = { count: 0 };
  const names = new ReverseNames(
    resolver,
    () => {
      news.count += 1;
    },
    limits,
  );
  return { resolver, names, news };
}

test('a name server names addresses of both families', async () => {
  const server = await NameServer.start({
    '1.2.0.192.in-addr.arpa': 'db1.example',
    '1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa': 'db2.example',
  });
  const names = new ReverseNames(resolverOf(server), () => {});
  const addresses = ['192.0.2.1', '2001:db8::1', '::ffff:192.0.2.1', '192.0.2.2'];
  const known = addresses.map((address) => names.of(address));
  await until(() => known.every(({ pending }) => !pending));
  assert.equal(
    known.map(({ name }) => name),
    ['db1.example', 'db2.example', 'db1.example', undefined],
  );
  assert.is(server.questions.length, 3, 'a mapped address is asked for as what it maps');
  names.close();
  await server.close();
});

test('a silent server causes a short wait and only a few concurrent queries', async () => {
  const server = await NameServer.start({});
  server.silent = true;
  const names = new ReverseNames(resolverOf(server), () => {}, { timeoutMs: 50, queries: 3 });
  const begin = performance.now();
  const known = Array.from({ length: 20 }, (_, i) => names.of(`192.0.2.${i}`));
  await until(() => known.every(({ pending }) => !pending));
  const waited = performance.now() - begin;
  assert.ok(waited < 290, `${waited} ms, less than a question takes to fail`);
  assert.is(server.questions.length, 3);
  names.close();
  await server.close();
});

test('a late answer is used for the next line', async () => {
  const { resolver, names, news } = scripted({ timeoutMs: 10 });
  const known = names.of('192.0.2.1');
  await until(() => !known.pending);
  assert.is(news.count, 1);
  assert.is(names.of('192.0.2.1').pending, false, 'and nobody waits for it again');
  resolver.get('192.0.2.1').answer('db1.example');
  await soon();
  assert.is(names.of('192.0.2.1').name, 'db1.example');
  assert.equal(resolver.questions, ['192.0.2.1']);
  assert.is(news.count, 1);
  names.close();
});

test('answers expire, those without a name sooner', async () => {
  const { resolver, names } = scripted({ namedMs: 200, namelessMs: 50 });
  for (const address of ['192.0.2.1', '192.0.2.2']) names.of(address);
  resolver.get('192.0.2.1').answer('db1.example');
  resolver.get('192.0.2.2').refuse();
  await soon();
  for (const address of ['192.0.2.1', '192.0.2.2']) names.of(address);
  assert.is(resolver.questions.length, 2);
  await soon(80);
  for (const address of ['192.0.2.1', '192.0.2.2']) names.of(address);
  assert.equal(resolver.questions.slice(2), ['192.0.2.2']);
  await soon(150);
  assert.is(names.of('192.0.2.1').pending, true);
  names.close();
});

test('the number of concurrent queries is limited; an answer starts the next query', async () => {
  const { resolver, names } = scripted({ queries: 2 });
  for (let i = 1; i <= 4; i++) names.of(`192.0.2.${i}`);
  assert.equal(resolver.questions, ['192.0.2.1', '192.0.2.2']);
  resolver.get('192.0.2.1').refuse();
  await soon();
  assert.equal(resolver.questions.slice(2), ['192.0.2.3']);
  names.close();
});

test('a query that times out in the queue is not sent until the next lookup', async () => {
  const { resolver, names } = scripted({ queries: 1, timeoutMs: 20 });
  const [first, second] = [names.of('192.0.2.1'), names.of('192.0.2.2')];
  await until(() => !first.pending && !second.pending);
  resolver.get('192.0.2.1').answer('db1.example');
  await soon();
  assert.equal(resolver.questions, ['192.0.2.1']);
  names.of('192.0.2.2');
  assert.equal(resolver.questions, ['192.0.2.1', '192.0.2.2']);
  names.close();
});

test('the queue of queries is bounded: beyond its limit nothing is pending', () => {
  const { names } = scripted({ queries: 1, queued: 2 });
  const pending = [1, 2, 3, 4, 5].map((i) => names.of(`192.0.2.${i}`).pending);
  assert.equal(pending, [true, true, true, false, false]);
  names.close();
});

test('the cache is bounded: the least recently used address is queried again', async () => {
  const { resolver, names } = scripted({ answers: 2 });
  for (const last of [1, 2]) {
    names.of(`192.0.2.${last}`);
    resolver.get(`192.0.2.${last}`).answer('x.example');
  }
  await soon();
  names.of('192.0.2.1');
  names.of('192.0.2.3');
  names.of('192.0.2.1');
  assert.equal(resolver.questions, ['192.0.2.1', '192.0.2.2', '192.0.2.3']);
  names.of('192.0.2.2');
  assert.is(resolver.questions.length, 4);
  names.close();
});

for (const name of ['', 'two words.example', 'r\u202el.example', '\x1b[2J', 'x'.repeat(254)])
  test(`${JSON.stringify(name.slice(0, 20))} is not accepted as a name`, async () => {
    const { resolver, names } = scripted();
    const known = names.of('192.0.2.1');
    resolver.get('192.0.2.1').answer(name);
    await until(() => !known.pending);
    assert.is(known.name, undefined);
    names.close();
  });

test('after close() nothing is pending and no query is sent', () => {
  const { resolver, names } = scripted();
  const known = names.of('192.0.2.1');
  names.close();
  assert.is(known.pending, false);
  assert.is(resolver.cancelled, true);
  assert.is(names.of('192.0.2.2').pending, false);
  assert.equal(resolver.questions, ['192.0.2.1']);
});

test.run();
