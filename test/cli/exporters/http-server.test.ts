import { createServer } from 'node:http';
import { createConnection } from 'node:net';
import { gunzipSync } from 'node:zlib';
import * as assert from 'uvu/assert';
import { hostAndPort } from '../../../src/cli/exporter-options.ts';
import { acceptsGzip, type HttpServer, ListenError, listen } from '../../../src/cli/exporters/http-server.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/exporters/http-server');

const LOCAL = { address: '127.0.0.1', port: 0 };

let server: HttpServer;
test.before(async () => {
  server = await listen(LOCAL, {
    '/metrics': async () => ({ contentType: 'text/plain; version=0.0.4', body: 'a 1\n'.repeat(1000) }),
    '/healthz': () => ({ contentType: 'text/plain', body: 'ok\n', status: 200 }),
    '/broken': () => {
      throw new Error('the reason');
    },
  });
});
test.after(() => server.close());

/** A response as it is on the wire. */
async function raw(request: string): Promise<{ head: string; body: Buffer }> {
  const socket = createConnection(Number(new URL(server.url).port), '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.write(request);
  await new Promise((resolve, reject) => socket.once('close', resolve).once('error', reject));
  const all = Buffer.concat(chunks);
  const end = all.indexOf('\r\n\r\n');
  return { head: all.toString('latin1', 0, end), body: all.subarray(end + 4) };
}

const request = (line: string, ...headers: string[]): string =>
  [line, 'Host: x', 'Connection: close', ...headers, '', ''].join('\r\n');

test('GET serves a page with its type and length', async () => {
  const { head, body } = await raw(request('GET /metrics?x=1 HTTP/1.1'));
  assert.match(head, /^HTTP\/1.1 200 OK\r\n/);
  assert.match(head, /content-type: text\/plain; version=0.0.4/i);
  assert.match(head, /content-length: 4000/i);
  assert.not.match(head, /content-encoding/i);
  assert.is(body.toString(), 'a 1\n'.repeat(1000));
});

test('gzip is used if the client accepts it', async () => {
  const { head, body } = await raw(request('GET /metrics HTTP/1.1', 'Accept-Encoding: br, gzip;q=0.5'));
  assert.match(head, /content-encoding: gzip/i);
  assert.match(head, new RegExp(`content-length: ${body.length}`, 'i'));
  assert.is(gunzipSync(body).toString(), 'a 1\n'.repeat(1000));
  assert.ok(body.length < 200);
});

test('HEAD sends the headers of GET, and no body', async () => {
  for (const header of ['Accept: */*', 'Accept-Encoding: gzip']) {
    const get = await raw(request('GET /metrics HTTP/1.1', header));
    const head = await raw(request('HEAD /metrics HTTP/1.1', header));
    const withoutDate = (text: string): string => text.replace(/^Date:.*$/m, '');
    assert.is(withoutDate(head.head), withoutDate(get.head));
    assert.is(head.body.length, 0);
  }
});

for (const [line, status] of [
  ['GET /healthz HTTP/1.1', '200 OK'],
  ['GET / HTTP/1.1', '404 Not Found'],
  ['GET /metrics/ HTTP/1.1', '404 Not Found'],
  ['GET /__proto__ HTTP/1.1', '404 Not Found'],
  ['GET /toString HTTP/1.1', '404 Not Found'],
  ['GET http://evil/metrics HTTP/1.1', '404 Not Found'],
  ['POST /metrics HTTP/1.1', '405 Method Not Allowed'],
  ['DELETE /healthz HTTP/1.1', '405 Method Not Allowed'],
  ['GET /broken HTTP/1.1', '500 Internal Server Error'],
  ['nonsense', '400 Bad Request'],
] as const)
  test(`'${line}' is answered by ${status}`, async () => {
    const { head } = await raw(request(line));
    assert.ok(head.startsWith(`HTTP/1.1 ${status}\r\n`), head);
    if (status.startsWith('405')) assert.match(head, /allow: GET, HEAD/i);
  });

test('an error of a page is explained, and the server continues', async () => {
  assert.is((await raw(request('GET /broken HTTP/1.1'))).body.toString(), 'the reason\n');
  assert.is((await raw(request('GET /healthz HTTP/1.1'))).body.toString(), 'ok\n');
});

test('a request with a body is answered without reading it all', async () => {
  const { head } = await raw(`${request('POST /metrics HTTP/1.1', 'Content-Length: 5')}12345`);
  assert.match(head, /^HTTP\/1.1 405/);
});

test('connections beyond the limit are closed, and the others are served', async () => {
  const port = Number(new URL(server.url).port);
  const idle = Array.from({ length: 40 }, () => createConnection(port, '127.0.0.1').on('error', () => {}));
  try {
    await new Promise<void>((resolve) => {
      let closed = 0;
      for (const socket of idle) socket.once('close', () => ++closed === 8 && resolve());
    });
  } finally {
    for (const socket of idle) socket.destroy();
  }
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.match((await raw(request('GET /healthz HTTP/1.1'))).head, /200 OK/);
});

const REFUSED = [
  [{ address: '127.0.0.1', port: -1 }, /cannot listen on 127.0.0.1:\d+: the port is in use \(ss -ltnp/],
  [{ address: '192.0.2.1', port: 0 }, /cannot listen on 192.0.2.1:0: this machine does not have the address/],
] as const;
for (const [where, message] of REFUSED)
  test(`listening on ${where.address} fails with ${message.source}`, async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    const { port } = other.address() as { port: number };
    try {
      await listen({ ...where, port: where.port < 0 ? port : where.port }, {});
      assert.unreachable('it listens');
    } catch (error) {
      assert.instance(error, ListenError);
      assert.match((error as Error).message, message);
    } finally {
      other.close();
    }
  });

test('close ends while a client is connected and idle', async () => {
  const other = await listen(LOCAL, { '/x': () => ({ contentType: 'text/plain', body: 'x' }) });
  const socket = createConnection(Number(new URL(other.url).port), '127.0.0.1').on('error', () => {});
  await new Promise((resolve) => socket.once('connect', resolve));
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await other.close();
  await closed;
});

test('addresses are shown as in a URL', () => {
  assert.is(hostAndPort({ address: '127.0.0.1', port: 1 }), '127.0.0.1:1');
  assert.is(hostAndPort({ address: '::1', port: 2 }), '[::1]:2');
  assert.is(hostAndPort({ address: '', port: 3 }), '*:3');
});

test('Accept-Encoding is read by RFC 9110', () => {
  for (const yes of ['gzip', 'GZIP', 'br, gzip', 'gzip;q=0.1', '*', 'identity, *;q=0.2'])
    assert.is(acceptsGzip(yes), true, yes);
  for (const no of [
    undefined,
    '',
    'identity',
    'br',
    'gzip;q=0',
    'gzip; q=0.0',
    '*;q=0',
    'gzip;q=0, *',
    'xgzip',
  ])
    assert.is(acceptsGzip(no), false, no);
});

test.run();
