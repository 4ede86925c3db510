/**
 * Chromium without a window, driven through pipes by its DevTools protocol: JSON messages that end in NUL, on
 * the descriptors 3 (to the browser) and 4 (from it). No port is open.
 *
 * Source: https://chromedevtools.github.io/devtools-protocol/
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { missing } from '../terminal.ts';

/** Why there is no browser, or false. */
export const noBrowser: string | false = missing('chromium');

type Parameters = Readonly<Record<string, unknown>>;
interface Message {
  readonly id?: number;
  readonly sessionId?: string;
  readonly method?: string;
  readonly params?: Parameters;
  readonly result?: Parameters;
  readonly error?: { readonly message: string };
}

/** A running browser. The caller closes it. */
export class Browser {
  readonly #process: ChildProcess;
  readonly #profile: string;
  readonly #waiting = new Map<number, (message: Message) => void>();
  readonly #listeners = new Set<(message: Message) => void>();
  #lastId = 0;
  #text = '';

  private constructor(profile: string) {
    this.#profile = profile;
    const options = ['--headless', '--disable-gpu', '--hide-scrollbars', '--remote-debugging-pipe'];
    // Its sandbox does not work for root. The pages are files that the tests made.
    const root = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
    this.#process = spawn(
      'chromium',
      [
        ...options,
        ...root,
        `--user-data-dir=${profile}`,
        '--no-first-run',
        '--disable-extensions',
        'about:blank',
      ],
      { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'], env: { ...process.env, HOME: profile } },
    );
    (this.#process.stdio[4] as Readable)
      .setEncoding('utf8')
      .on('data', (text: string) => this.#receive(text));
    this.#process.once('exit', () => {
      for (const settle of this.#waiting.values()) settle({ error: { message: 'the browser has exited' } });
    });
  }

  static async open(): Promise<Browser> {
    const browser = new Browser(mkdtempSync(join(tmpdir(), 'tsbpf-browser-')));
    await browser.send('Browser.getVersion');
    return browser;
  }

  /** Opens a page that is `width` pixels wide. */
  async page(width = 1280, height = 900): Promise<Page> {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page(this, sessionId as string, targetId as string);
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await page.send(`${domain}.enable`);
    await page.send('Emulation.setDeviceMetricsOverride', {
      width,
      height,
      deviceScaleFactor: 1,
      mobile: false,
    });
    return page;
  }

  /** Sends a command, and returns its result. */
  async send(method: string, params: Parameters = {}, sessionId?: string): Promise<Parameters> {
    this.#lastId += 1;
    const id = this.#lastId;
    const answer = new Promise<Message>((resolve) => this.#waiting.set(id, resolve));
    (this.#process.stdio[3] as Writable).write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    const { result, error } = await answer;
    if (error) throw new Error(`${method}: ${error.message}`);
    return result ?? {};
  }

  /** Calls `listener` for each event, until the returned function is called. */
  listen(listener: (message: Message) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    const exited = once(this.#process, 'exit');
    await this.send('Browser.close').catch(() => this.#process.kill('SIGKILL'));
    await exited;
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }

  #receive(text: string): void {
    const parts = (this.#text + text).split('\0');
    this.#text = parts.pop() ?? '';
    for (const part of parts) {
      const message: Message = JSON.parse(part);
      if (message.id !== undefined) {
        this.#waiting.get(message.id)?.(message);
        this.#waiting.delete(message.id);
      } else for (const listener of this.#listeners) listener(message);
    }
  }
}

/** A node of the accessibility tree. */
export interface AccessibleNode {
  readonly role: string;
  readonly name: string;
  readonly properties: Readonly<Record<string, unknown>>;
}

/** A page of the browser. */
export class Page {
  readonly #browser: Browser;
  readonly #session: string;
  readonly #target: string;
  /** Errors and warnings of the console, exceptions, and violations of the page's policy. */
  readonly problems: string[] = [];
  /** The addresses that the page requested. */
  readonly requests: string[] = [];

  constructor(browser: Browser, session: string, target: string) {
    this.#browser = browser;
    this.#session = session;
    this.#target = target;
    browser.listen(({ sessionId, method, params }) => {
      if (sessionId === session && method && params) this.#note(method, params);
    });
  }

  send(method: string, params?: Parameters): Promise<Parameters> {
    return this.#browser.send(method, params, this.#session);
  }

  /** Opens a file, and waits until it is loaded and its first frame has been painted. */
  async open(file: string): Promise<void> {
    const loaded = this.#event('Page.loadEventFired');
    await this.send('Page.navigate', { url: `file://${file}` });
    await loaded;
    await this.evaluate(
      'new Promise((painted) => requestAnimationFrame(() => requestAnimationFrame(painted)))',
    );
  }

  /** Waits until the script of a report has made its charts and tables. */
  async complete(): Promise<void> {
    await this.evaluate(`new Promise((complete) => {
      const check = () => (document.querySelector('[aria-busy]') ? setTimeout(check, 1) : requestAnimationFrame(complete));
      check();
    })`);
  }

  /** The value of an expression in the page, or of the promise that it returns. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = (await this.send('Runtime.evaluate', {
      ...{ expression, awaitPromise: true, returnByValue: true },
    })) as {
      result: { value: T };
      exceptionDetails?: { text: string; exception?: { description?: string } };
    };
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** Presses keys, one after the other: `Tab`, `Enter`, `ArrowRight`, ` `. */
  async press(...keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      const code = { Tab: 9, Enter: 13, ' ': 32, ArrowLeft: 37, ArrowRight: 39, Home: 36 }[key] ?? 0;
      const text = key === 'Enter' ? '\r' : key === ' ' ? ' ' : undefined;
      const event = { key, code: key === ' ' ? 'Space' : key, windowsVirtualKeyCode: code };
      await this.send('Input.dispatchKeyEvent', { type: text ? 'keyDown' : 'rawKeyDown', ...event, text });
      await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...event });
    }
  }

  /** The nodes of the accessibility tree that are not ignored. */
  async accessibleNodes(): Promise<AccessibleNode[]> {
    interface Value {
      readonly value?: unknown;
    }
    interface Node {
      readonly ignored: boolean;
      readonly role?: Value;
      readonly name?: Value;
      readonly properties?: readonly { readonly name: string; readonly value: Value }[];
    }
    const { nodes } = (await this.send('Accessibility.getFullAXTree')) as unknown as { nodes: Node[] };
    return nodes
      .filter(({ ignored }) => !ignored)
      .map(({ role, name, properties = [] }) => ({
        role: String(role?.value ?? ''),
        name: String(name?.value ?? ''),
        properties: Object.fromEntries(properties.map((each) => [each.name, each.value.value])),
      }));
  }

  async close(): Promise<void> {
    await this.#browser.send('Target.closeTarget', { targetId: this.#target });
  }

  #event(name: string): Promise<void> {
    return new Promise((resolve) => {
      const stop = this.#browser.listen(({ sessionId, method }) => {
        if (sessionId !== this.#session || method !== name) return;
        stop();
        resolve();
      });
    });
  }

  #note(method: string, params: Parameters): void {
    if (method === 'Network.requestWillBeSent')
      this.requests.push((params.request as { readonly url: string }).url);
    else if (method === 'Runtime.exceptionThrown' || method === 'Log.entryAdded')
      this.problems.push(JSON.stringify(params.entry ?? params.exceptionDetails));
    else if (method === 'Runtime.consoleAPICalled') this.problems.push(JSON.stringify(params.args));
  }
}
