/**
 * The table of connects in flight, run with chosen addresses of sockets: it agrees with a map of this
 * process, also for sockets that share a slot, and with and without slots.
 */
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { s32, u64 } from '../../src/asm/layout.ts';
import type { MapSpec } from '../../src/asm/map.ts';
import type { BpfMap } from '../../src/loader/map.ts';
import { attemptTable, type Slots } from '../../src/programs/tcpconnlat/attempt-table.ts';
import { entryOf, eventOf } from '../../src/programs/tcpconnlat/events.ts';
import { propertySuite } from './property-runs.ts';
import { cannotRun, type Running, withProgram } from './run-program.ts';
import { here } from './tracer.ts';

const { test, cases } = propertySuite('live/attempt-table', 200);

const entry = entryOf(eventOf({ v4: true, v6: true }, 'socket', {}), false);
const CAPACITY = 4096;

/** Addresses of sockets. The first three, and the next two, have equal low halves, and so share a slot. */
const SOCKETS = [
  ...[0xffff_8880_0012_3400n, 0xffff_8881_0012_3400n, 0xffff_8882_0012_3400n],
  ...[0xffff_8880_0012_4d00n, 0xffff_8881_0012_4d00n],
  0xffff_8880_0700_0000n,
];

const Action = { begin: 0n, take: 1n, remove: 2n } as const;
type Action = keyof typeof Action;

interface Table {
  /** Returns the begin that is taken, 0 if there is none. */
  run(action: Action, socket: bigint, startNs?: number): number;
  /** The sockets in the slots and in the hash table. */
  contents(): { readonly slots: readonly bigint[]; readonly overflow: readonly bigint[] };
}

/** Calls `use` with a table. */
function withTable<T>(withSlots: boolean, use: (table: Table) => T): T {
  const table = attemptTable(entry, CAPACITY, withSlots);
  const contents = (map: Running['map']) => ({
    slots: table.slots
      ? [...(map(table.slots) as BpfMap<Slots>).entries()].map(([, { socket }]) => socket).filter(Boolean)
      : [],
    overflow: [...map(table.hash as MapSpec<typeof u64>).keys()],
  });
  return withProgram(
    table.maps,
    (b) => {
      const action = b.keep(b.arg(0));
      const socket = b.stack(u64, b.arg(1));
      const attempt = b.stack(entry);
      attempt.set(0);
      attempt.startNs.set(b.arg(2));
      b.if(action.eq(Action.begin), () => {
        b.block((done) => {
          table.claimSlot(b, socket, attempt, done);
          b.update(table.hash, socket, attempt);
        });
        b.exit(0);
      });
      b.if(action.eq(Action.remove), () => {
        table.remove(b, socket);
        b.exit(0);
      });
      table.take(b, socket, (found) => attempt.set(found));
      b.exit(attempt.startNs.get().as(s32));
    },
    ({ run, map }) =>
      use({
        run: (action, socket, startNs = 0) => run(Action[action], socket, BigInt(startNs)),
        contents: () => contents(map),
      }),
  );
}

const noSlots =
  cannotRun ||
  (here.features.support({ instruction: 'atomic.cmpxchg' }).answer === 'no' &&
    'this kernel has no atomic compare-and-exchange (Linux 5.12)');

const steps = fc.array(
  fc.tuple(fc.constantFrom<Action>('begin', 'begin', 'take', 'take', 'remove'), fc.nat(SOCKETS.length - 1)),
  { minLength: 1, maxLength: 60 },
);

for (const withSlots of [true, false]) {
  const name = withSlots ? 'with slots' : 'without slots';
  const skip = withSlots ? noSlots : cannotRun;

  test.skipIf(skip, `${name}, an attempt that is taken is the last one of its socket`, () =>
    fc.assert(
      fc.property(steps, (actions) =>
        withTable(withSlots, (table) => {
          const model = new Map<bigint, number>();
          for (const [index, [action, number]] of actions.entries()) {
            const socket = SOCKETS[number] as bigint;
            // An attempt begins once, as long as its program runs for each change of state.
            if (model.has(socket) === (action === 'begin')) continue;
            const begin = index + 1;
            const result = table.run(action, socket, begin);
            if (action === 'take') assert.is(result, model.get(socket));
            if (action === 'begin') model.set(socket, begin);
            else model.delete(socket);
            const { slots, overflow } = table.contents();
            assert.equal([...slots, ...overflow].sort(), [...model.keys()].sort());
          }
          for (const socket of SOCKETS) assert.is(table.run('take', socket), model.get(socket) ?? 0);
          assert.equal(table.contents(), { slots: [], overflow: [] });
        }),
      ),
      { numRuns: cases },
    ),
  );

  test.skipIf(skip, `${name}, a new attempt replaces one whose end was missed`, () =>
    withTable(withSlots, (table) => {
      const [socket, other] = SOCKETS as [bigint, bigint];
      for (const first of [socket, other]) {
        table.run('begin', socket, 1);
        table.run('begin', first, 2);
        table.run('begin', first, 3);
        assert.is(table.run('take', first), 3);
        assert.is(table.run('take', first), 0);
        table.run('remove', socket);
        assert.equal(table.contents(), { slots: [], overflow: [] });
      }
    }),
  );
}

test.skipIf(noSlots, 'sockets that share a slot are in the slot and in the hash table', () =>
  withTable(true, (table) => {
    const [first, second, third] = SOCKETS as [bigint, bigint, bigint];
    for (const [index, socket] of [first, second, third].entries()) table.run('begin', socket, index + 1);
    assert.equal(table.contents().slots, [first]);
    assert.equal([...table.contents().overflow].sort(), [second, third]);
    assert.is(table.run('take', first), 1);
    table.run('begin', first, 4);
    assert.equal(table.contents().slots, [first]);
    for (const [socket, begin] of [
      [second, 2],
      [third, 3],
      [first, 4],
    ] as const)
      assert.is(table.run('take', socket), begin);
  }),
);

test.run();
