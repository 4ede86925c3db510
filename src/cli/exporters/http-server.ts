/**
 * An HTTP server for scrapes. It answers GET and HEAD, compresses with gzip, and limits connections and their
 * times, so that its clients cannot exhaust the process.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { TsbpfError } from '../../asm/error.ts';
import { hostAndPort, type ListenAddress } from '../exporter-options.ts';

/** The server cannot listen, for example because the port is in use. */
export class ListenError extends TsbpfError {
  override readonly name = 'ListenError';
  override readonly code = 'ERR_LISTEN';
}

/** What a path serves. */
export interface Page {
  readonly contentType: string;
  readonly body: string;
  /** 200 by default. */
  readonly status?: number;
}

/** The pages by path. An exception becomes status 500, with its message. */
export type Pages = Readonly<Record<string, () => Page | Promise<Page>>>;

export interface HttpServer {
  /** `http://ADDRESS:PORT`, with the port that the server has. */
  readonly url: string;
  /** Closes the port. Waits a second for answers that are being sent. */
  close(): Promise<void>;
}

/** The most connections at once; more are closed. */
const MAX_CONNECTIONS = 32;
/** How long a request may take to arrive, in ms. */
const REQUEST_MS = 10_000;
/** How long an idle connection stays open, in ms: longer than the usual interval of scrapes. */
const KEEP_ALIVE_MS = 75_000;
/** How long a connection may take to accept more of an answer, in ms. */
const SEND_MS = 30_000;
const CLOSE_MS = 1000;

const PLAIN_TEXT = 'text/plain; charset=utf-8';

/**
 * Listens on an address.
 * @throws {ListenError}
 */
export async function listen(where: ListenAddress, pages: Pages): Promise<HttpServer> {
  const server = createServer(
    { headersTimeout: REQUEST_MS, requestTimeout: REQUEST_MS, keepAliveTimeout: KEEP_ALIVE_MS },
    (request, response) => {
      answer(request, response, pages).catch(() => response.destroy());
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.timeout = KEEP_ALIVE_MS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(cannotListen(where, error)));
    server.listen({ port: where.port, ...(where.address && { host: where.address }) }, resolve);
  });
  server.on('error', () => {}); // out of descriptors: the next connection may work
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${hostAndPort({ ...where, port })}`,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeIdleConnections();
      const timer = setTimeout(() => server.closeAllConnections(), CLOSE_MS);
      await closed;
      clearTimeout(timer);
    },
  };
}

const REASONS: { readonly [code: string]: string } = {
  EADDRINUSE: 'the port is in use (ss -ltnp shows by which process); select another one with --listen',
  EADDRNOTAVAIL: 'this machine does not have the address; select another one with --listen',
  EACCES: 'ports below 1024 need CAP_NET_BIND_SERVICE; select another one with --listen',
};

function cannotListen(where: ListenAddress, { code = '', message }: NodeJS.ErrnoException): ListenError {
  return new ListenError(`cannot listen on ${hostAndPort(where)}: ${REASONS[code] ?? message}`);
}

async function answer(request: IncomingMessage, response: ServerResponse, pages: Pages): Promise<void> {
  response.setTimeout(SEND_MS, () => response.destroy());
  request.resume(); // a body is not read
  const [path = ''] = (request.url ?? '').split('?');
  const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
  const isRead = request.method === 'GET' || request.method === 'HEAD';
  const {
    status = 200,
    contentType,
    body,
  } = !page
    ? { status: 404, contentType: PLAIN_TEXT, body: `There are: ${Object.keys(pages).join(' ')}\n` }
    : isRead
      ? await contentOf(page)
      : { status: 405, contentType: PLAIN_TEXT, body: 'Use GET or HEAD.\n' };
  const compresses = acceptsGzip(request.headers['accept-encoding']);
  const bytes = compresses ? await promisify(gzip)(body) : Buffer.from(body);
  response.writeHead(status, {
    'Content-Type': contentType,
    'Content-Length': bytes.length,
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    Vary: 'Accept-Encoding',
    ...(compresses && { 'Content-Encoding': 'gzip' }),
    ...(status === 405 && { Allow: 'GET, HEAD' }),
  });
  response.end(bytes); // Node sends no body for HEAD
}

async function contentOf(page: () => Page | Promise<Page>): Promise<Page> {
  try {
    return await page();
  } catch (error) {
    return { status: 500, contentType: PLAIN_TEXT, body: `${(error as Error).message}\n` };
  }
}

/** Whether the header Accept-Encoding allows gzip (RFC 9110, 12.5.3). */
export function acceptsGzip(header = ''): boolean {
  const codings = header.split(',').map((text) => {
    const [name = '', ...parameters] = text.split(';').map((part) => part.trim().toLowerCase());
    const q = parameters.find((each) => each.startsWith('q='))?.slice(2);
    return { name, weight: q === undefined ? 1 : Number(q) };
  });
  const gzipCoding = codings.find(({ name }) => name === 'gzip') ?? codings.find(({ name }) => name === '*');
  return gzipCoding !== undefined && gzipCoding.weight > 0;
}
