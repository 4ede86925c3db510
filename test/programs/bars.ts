/** Upper limits for the cost of the programs, for the BTF of any kernel. */
import * as assert from 'uvu/assert';
import { type Assembled, assemble } from '../../src/asm/assemble.ts';
import type { Target } from '../../src/asm/target.ts';
import type { Options, ProbeType } from '../../src/programs/tcpconnlat/options.ts';
import { tcpconnlat } from '../../src/programs/tcpconnlat.ts';
import { isConditional, type Path, pathsOf } from './paths.ts';

/** include/net/tcp_states.h */
const TCP_ESTABLISHED = 1;
const TCP_SYN_SENT = 2;
const TCP_SYN_RECV = 3;
const TCP_FIN_WAIT1 = 4;
const TCP_CLOSE = 7;

/** A program of the tool by name. */
function programOf(options: Options, name: string, on: Target): Assembled {
  const found = tcpconnlat(options, on).programs.find((program) => program.name === name);
  if (!found) throw new Error(`no program ${name}`);
  return assemble(found.instructions);
}

const slots = ({ bytes }: Assembled): number => bytes.length / 8;
const atMost = (most: number, number: number, what: string) =>
  assert.ok(number <= most, `${number} ${what} instead of ${most}`);
const mostHelpers = (program: Assembled): number =>
  Math.max(...pathsOf(program).map(({ helpers }) => helpers.length));
const conditions = ({ instructions }: Path): number[] =>
  instructions.filter(isConditional).map(({ imm }) => imm);

function shortest(program: Assembled): Path {
  const [path] = pathsOf(program);
  if (!path) throw new Error('no path');
  return path;
}

/** A promise about the programs of one probe type, and its check for a target. */
export interface Bar {
  readonly probe: ProbeType;
  readonly promise: string;
  readonly check: (on: Target) => void;
}

export const BARS: readonly Bar[] = [
  {
    probe: 'kprobe',
    promise:
      "a socket's first connect takes at most 22 instructions and calls 4 helpers; the program has at most 61 slots, 13 of them for failed updates",
    check(on) {
      for (const family of [4, 6] as const) {
        const connect = programOf({ probe: 'kprobe' }, `tcp_v${family}_connect`, on);
        const path = shortest(connect);
        atMost(22, path.instructions.length, 'instructions');
        atMost(4, path.helpers.length, 'helpers');
        // Most of them count failed updates, and the previous attempt, which failed if the socket connects
        // again.
        atMost(61, slots(connect), 'slots');
      }
    },
  },
  {
    probe: 'kprobe',
    promise:
      'the program for changes of state has at most 86 slots and calls at most 6 helpers on its longest path',
    check(on) {
      const answer = programOf({ probe: 'kprobe' }, 'tcp_set_state', on);
      atMost(86, slots(answer), 'slots');
      atMost(6, mostHelpers(answer), 'helpers');
    },
  },
  {
    probe: 'kprobe',
    promise: 'a destroyed socket costs one deletion, and at most 9 instructions if it is not in the table',
    check(on) {
      const paths = pathsOf(programOf({ probe: 'kprobe' }, 'tcp_destroy', on));
      assert.equal(
        paths.map(({ helpers }) => helpers),
        [[3], [3]],
        'bpf_map_delete_elem',
      );
      atMost(9, paths[0]?.instructions.length ?? 0, 'instructions');
    },
  },
  ...(['kprobe', 'fentry'] as const).map(
    (probe): Bar => ({
      probe,
      promise:
        'a new state that ends no attempt is left after at most 6 instructions, without reading the socket',
      check(on) {
        const path = shortest(programOf({ probe }, 'tcp_set_state', on));
        assert.equal(conditions(path), [TCP_ESTABLISHED, TCP_CLOSE, TCP_FIN_WAIT1]);
        atMost(6, path.instructions.length, 'instructions');
        assert.equal(path.helpers, []);
      },
    }),
  ),
  {
    probe: 'fentry',
    promise:
      'the program for changes of state has at most 75 slots and calls at most 5 helpers on its longest path',
    check(on) {
      const answer = programOf({ probe: 'fentry' }, 'tcp_set_state', on);
      atMost(75, slots(answer), 'slots');
      atMost(5, mostHelpers(answer), 'helpers');
    },
  },
  ...(
    [
      ['fentry', 'tcp_set_state', [TCP_ESTABLISHED, TCP_SYN_SENT, TCP_SYN_RECV]],
      ['tp_btf', 'inet_sock_state', [TCP_SYN_SENT, TCP_SYN_SENT, TCP_SYN_RECV, TCP_SYN_RECV, TCP_SYN_RECV]],
    ] as const
  ).map(
    ([probe, name, states]): Bar => ({
      probe,
      promise: 'an accepted connection is left without a call',
      check(on) {
        // By the new state, the old state, and the socket that accept has not returned yet.
        const tests = [...states, 0];
        const path = pathsOf(programOf({ probe }, name, on)).find(
          (each) => conditions(each).join() === tests.join(),
        );
        assert.equal(path?.helpers, []);
        // The verifier replaces this one by a move.
        const cast = on.kernel?.find('func', 'bpf_rdonly_cast');
        assert.equal(
          path?.kernelFunctions.filter((id) => id !== cast),
          [],
          'kernel functions',
        );
      },
    }),
  ),
  ...(
    [
      ['trace_event', 121],
      ['tp_btf', 116],
    ] as const
  ).map(
    ([probe, most]): Bar => ({
      probe,
      promise: `the program has at most ${most} slots and calls at most 5 helpers on its longest path`,
      check(on) {
        const state = programOf({ probe }, 'inet_sock_state', on);
        atMost(most, slots(state), 'slots');
        atMost(5, mostHelpers(state), 'helpers');
      },
    }),
  ),
  {
    probe: 'trace_event',
    promise: 'other changes of state are left after 7 instructions',
    check(on) {
      const paths = pathsOf(programOf({ probe: 'trace_event' }, 'inet_sock_state', on));
      const states = [TCP_SYN_SENT, TCP_SYN_SENT, TCP_SYN_RECV];
      const path = paths.find((each) => conditions(each).join() === states.join());
      assert.is(path?.instructions.length, 7);
      assert.equal(path?.helpers, []);
    },
  },
  ...(['tp_btf', 'raw_tracepoint'] as const).map(
    (probe): Bar => ({
      probe,
      promise: 'other changes of state are left after 6 instructions',
      check(on) {
        const path = shortest(programOf({ probe }, 'inet_sock_state', on));
        assert.is(path.instructions.length, 6);
        const states = [TCP_SYN_SENT, TCP_SYN_SENT, TCP_SYN_RECV];
        assert.equal(conditions(path), states, 'by the new state and the old');
        assert.equal(path.helpers, []);
      },
    }),
  ),
];
