/** Two network namespaces, joined by a link that can be slow or lossy. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Peer } from '../live/connects.ts';

const run = promisify(execFile);

type End = 'near' | 'far';

/** The addresses of the near end. */
export const NEAR = { IPv4: '10.8.0.1', IPv6: '2001:db8::1' } as const;
/** The addresses of the far end. */
export const FAR = { IPv4: '10.8.0.2', IPv6: '2001:db8::2' } as const;
const ADDRESSES = { near: NEAR, far: FAR };
const HARDWARE = { near: '02:00:00:00:00:01', far: '02:00:00:00:00:02' } as const;
const OTHER = { near: 'far', far: 'near' } as const;
const DEVICE = 'link0';

/** How often the kernel retransmits a SYN by default. */
const DEFAULT_RETRIES = 6;

/** Runs a command in the network namespace of a process and returns its output. */
export async function inNetworkOf(peer: Peer, ...command: readonly string[]): Promise<string> {
  const { stdout } = await run('nsenter', inNetwork(peer, command));
  return stdout;
}

/**
 * Runs commands of ip(8) there, one per line, in one process: starting one takes a tenth of a second on an
 * emulated machine.
 */
export async function ipInNetworkOf(peer: Peer, ...lines: readonly string[]): Promise<void> {
  const running = run('nsenter', inNetwork(peer, ['ip', '-batch', '-']));
  running.child.stdin?.end(`${lines.join('\n')}\n`);
  await running;
}

function inNetwork({ pid }: Peer, command: readonly string[]): string[] {
  return ['--net', '--target', String(pid), ...command];
}

/** A link. It disappears with the processes whose namespaces it joins. */
export class Link {
  readonly #ends: Record<End, Peer>;
  /** Ends with a changed qdisc. */
  readonly #shaped = new Set<End>();
  /** Ends with a changed number of retries. */
  readonly #changedRetries = new Set<End>();

  private constructor(near: Peer, far: Peer) {
    this.#ends = { near, far };
  }

  /** Moves both processes to new network namespaces and joins those. */
  static async between(near: Peer, far: Peer): Promise<Link> {
    const link = new Link(near, far);
    for (const peer of [near, far]) await peer.ask('leaveNetwork');
    // Created from outside, so that each end starts in its namespace.
    await run('ip', [
      ...['link', 'add', DEVICE, 'netns', String(near.pid), 'type', 'veth'],
      ...['peer', 'name', DEVICE, 'netns', String(far.pid)],
    ]);
    for (const end of ['near', 'far'] as const) await link.#setUp(end);
    return link;
  }

  /**
   * Sets the netem options of an end's outgoing packets (`delay 50ms`, `loss 100%`; man 8 tc-netem). Without
   * options, packets pass unchanged.
   */
  async shape(end: End, ...netem: readonly string[]): Promise<void> {
    if (netem.length > 0) this.#shaped.add(end);
    else this.#shaped.delete(end);
    await this.in(
      end,
      'tc',
      'qdisc',
      'replace',
      'dev',
      DEVICE,
      'root',
      'netem',
      ...(netem.length ? netem : ['delay', '0ms']),
    );
  }

  /** The number of packets that an end's netem has dropped since the last `shape`. */
  async dropped(end: End): Promise<number> {
    const text = await this.in(end, 'tc', '-s', 'qdisc', 'show', 'dev', DEVICE);
    return Number(/\(dropped (\d+)/.exec(text)?.[1] ?? Number.NaN);
  }

  /**
   * Sets how often an end retransmits a SYN, for both families. One retransmit takes three seconds in total.
   */
  async retries(end: End, count: number): Promise<void> {
    if (count === DEFAULT_RETRIES) this.#changedRetries.delete(end);
    else this.#changedRetries.add(end);
    await this.in(end, 'sysctl', '-qw', `net.ipv4.tcp_syn_retries=${count}`);
  }

  /** Undoes `shape` and `retries`. */
  async restore(): Promise<void> {
    for (const end of this.#shaped) await this.shape(end);
    for (const end of this.#changedRetries) await this.retries(end, DEFAULT_RETRIES);
  }

  /** Runs a command in the network namespace of an end and returns its output. */
  in(end: End, ...command: readonly string[]): Promise<string> {
    return inNetworkOf(this.#ends[end], ...command);
  }

  async #setUp(end: End): Promise<void> {
    const device = `dev ${DEVICE}`;
    await ipInNetworkOf(
      this.#ends[end],
      'link set lo up',
      `link set ${DEVICE} address ${HARDWARE[end]} up`,
      `address add ${ADDRESSES[end].IPv4}/24 ${device}`,
      `address add ${ADDRESSES[end].IPv6}/64 ${device} nodad`,
      // Otherwise the first connect would also wait for neighbor discovery, over a link that may be slow or
      // lossy.
      ...Object.values(ADDRESSES[OTHER[end]]).map(
        (address) => `neighbour add ${address} lladdr ${HARDWARE[OTHER[end]]} ${device} nud permanent`,
      ),
    );
  }
}
