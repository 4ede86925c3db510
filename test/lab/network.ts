/** Two network namespaces and a link between them that can be made slow or lossy. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Peer } from '../live/connects.ts';

const run = promisify(execFile);

type End = 'near' | 'far';

const NEAR = { IPv4: '10.8.0.1', IPv6: '2001:db8::1' } as const;
/** Addresses of the far end. */
export const FAR = { IPv4: '10.8.0.2', IPv6: '2001:db8::2' } as const;
const ADDRESSES = { near: NEAR, far: FAR };
const HARDWARE = { near: '02:00:00:00:00:01', far: '02:00:00:00:00:02' } as const;
const OTHER = { near: 'far', far: 'near' } as const;
const DEVICE = 'link0';

/** How often a SYN is sent again before the kernel gives up, if nobody has set it. */
const USUAL_RETRIES = 6;

/** Runs a command in the network of a process, and gives what it printed. */
export async function inNetworkOf(peer: Peer, ...command: readonly string[]): Promise<string> {
  const { stdout } = await run('nsenter', inNetwork(peer, command));
  return stdout;
}

/** Runs commands of ip(8) there, a line each, in one process: on an emulated machine it takes a tenth of a second to start one. */
export async function ipInNetworkOf(peer: Peer, ...lines: readonly string[]): Promise<void> {
  const running = run('nsenter', inNetwork(peer, ['ip', '-batch', '-']));
  running.child.stdin?.end(`${lines.join('\n')}\n`);
  await running;
}

function inNetwork({ pid }: Peer, command: readonly string[]): string[] {
  return ['--net', '--target', String(pid), ...command];
}

/** A link; it goes with the processes whose namespaces it joins. */
export class Link {
  readonly #ends: Record<End, Peer>;
  /** Ends that don't send as they did at first. */
  readonly #shaped = new Set<End>();
  /** Ends that give up sooner or later than usual. */
  readonly #impatient = new Set<End>();

  private constructor(near: Peer, far: Peer) {
    this.#ends = { near, far };
  }

  /** Moves both processes to networks of their own, and joins these. */
  static async between(near: Peer, far: Peer): Promise<Link> {
    const link = new Link(near, far);
    for (const peer of [near, far]) await peer.ask('leaveNetwork');
    // Made from outside, so that each end appears where it belongs.
    await run('ip', [
      ...['link', 'add', DEVICE, 'netns', String(near.pid), 'type', 'veth'],
      ...['peer', 'name', DEVICE, 'netns', String(far.pid)],
    ]);
    for (const end of ['near', 'far'] as const) await link.#setUp(end);
    return link;
  }

  /**
   * What an end does to the packets that it sends, in netem's words (`delay 50ms`, `loss 100%`; man 8 tc-netem); nothing for
   * no words.
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

  /** Packets that an end's netem has dropped since it was shaped so. */
  async dropped(end: End): Promise<number> {
    const text = await this.in(end, 'tc', '-s', 'qdisc', 'show', 'dev', DEVICE);
    return Number(/\(dropped (\d+)/.exec(text)?.[1] ?? Number.NaN);
  }

  /** How often an end sends a SYN again before it gives up, over both families: once is three seconds. */
  async retries(end: End, count: number): Promise<void> {
    if (count === USUAL_RETRIES) this.#impatient.delete(end);
    else this.#impatient.add(end);
    await this.in(end, 'sysctl', '-qw', `net.ipv4.tcp_syn_retries=${count}`);
  }

  /** Undoes what `shape` and `retries` have done. */
  async restore(): Promise<void> {
    for (const end of this.#shaped) await this.shape(end);
    for (const end of this.#impatient) await this.retries(end, USUAL_RETRIES);
  }

  /** Runs a command in the network of an end, and gives what it printed. */
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
      // Else the first connect would also wait for the neighbour to be found, over a link that may be slow or lossy.
      ...Object.values(ADDRESSES[OTHER[end]]).map(
        (address) => `neighbour add ${address} lladdr ${HARDWARE[OTHER[end]]} ${device} nud permanent`,
      ),
    );
  }
}
