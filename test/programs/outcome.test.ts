/** The outcome of a connect, from the facts that the programs send. */
import * as assert from 'uvu/assert';
import { type ConnectEvent, outcomeOf } from '../../src/programs/tcpconnlat/events.ts';
import { suite } from '../harness.ts';

const test = suite('programs/outcome');

const [ESTABLISHED, FIN_WAIT1, CLOSE, NO_STATE] = [1, 4, 7, 0];
const [SS_UNCONNECTED, SS_CONNECTING] = [1, 2];
const [SIGKILL, CORE_DUMPED, EXIT_STATUS_9] = [9, 0x80, 9 << 8];

type Cause = NonNullable<ConnectEvent['cause']>;

const NO_CAUSE: Cause = {
  error: 0,
  softError: 0,
  segmentsIn: 0,
  segmentsOut: 0,
  socketState: 0,
  exitCode: 0,
};
/** A SYN was sent, and the application is still running. */
const WAITING: Partial<Cause> = { segmentsOut: 1, socketState: SS_CONNECTING };

function event(state: number, cause?: Partial<Cause>, localPort = 50_322): ConnectEvent {
  return {
    attempt: { startNs: 0n, task: { tid: 1, pid: 1 }, comm: 'wget' },
    latencyNs: 1,
    ports: { remote: 443, local: localPort },
    family: 2,
    v4: undefined,
    v6: undefined,
    ended: { state, retransmits: 3 },
    cause: cause && { ...NO_CAUSE, ...cause },
  };
}

const cases: [string, ConnectEvent, string, number?][] = [
  ['established', event(ESTABLISHED, { segmentsIn: 1 }), 'established'],
  ['established without a segment', event(ESTABLISHED, {}), 'restored'],
  ['a reset', event(CLOSE, { error: 111, segmentsIn: 1 }), 'refused', 111],
  ['refused without a segment: by ICMP', event(CLOSE, { error: 111 }), 'rejected', 111],
  ['timed out', event(CLOSE, { error: 110 }), 'timed-out', 110],
  ['host unreachable', event(CLOSE, { error: 113 }), 'unreachable', 113],
  ['network unreachable', event(CLOSE, { error: 101 }), 'unreachable', 101],
  ['killed by ss -K', event(CLOSE, { error: 103 }), 'killed', 103],
  ['an error that has no word', event(CLOSE, { error: 13 }), 'error', 13],
  ['the error of a call without a route', event(NO_STATE, { error: 101 }, 0), 'unreachable', 101],
  ['the error of a call without an address', event(NO_STATE, { error: 99 }, 0), 'error', 99],
  ['no local port', event(CLOSE, {}, 0), 'no-port', 99],
  ['the bound port is taken', event(CLOSE, { socketState: SS_UNCONNECTED }), 'no-port', 99],
  ['given up', event(CLOSE, WAITING), 'aborted'],
  ['given up before the SYN (Fast Open)', event(CLOSE, { socketState: SS_CONNECTING }), 'aborted'],
  ['given up, its descriptor gone', event(CLOSE, { segmentsOut: 1 }), 'aborted'],
  ['given up, of a socket never said to connect', event(CLOSE, { ...WAITING, socketState: 1 }), 'aborted'],
  ['given up while it met itself', event(FIN_WAIT1, WAITING), 'aborted'],
  ['given up after an error that was no end', event(CLOSE, { ...WAITING, softError: 113 }), 'aborted', 113],
  ['its process exited', event(CLOSE, { ...WAITING, exitCode: EXIT_STATUS_9 }), 'aborted'],
  ['its process was killed', event(CLOSE, { ...WAITING, exitCode: SIGKILL }), 'killed'],
  ['killed and dumped', event(CLOSE, { ...WAITING, exitCode: 11 | CORE_DUMPED }), 'killed'],
  [
    'an error takes precedence over the exit code of the current task',
    event(CLOSE, { error: 110, exitCode: 9 }),
    'timed-out',
    110,
  ],
];
for (const [what, ended, result, errno] of cases)
  test(`${what}: ${result}`, () => {
    assert.equal(outcomeOf(ended), { result, ...(errno !== undefined && { errno }), retransmits: 3 });
  });

for (const [what, ended, result, errno] of [
  ['established', event(ESTABLISHED), 'established', undefined],
  ['closed, for whatever reason', event(CLOSE), 'failed', undefined],
  ['closed without a local port', event(CLOSE, undefined, 0), 'no-port', 99],
] as const)
  test(`from the record alone, ${what}: ${result}, and no retransmits`, () => {
    assert.equal(outcomeOf(ended), { result, ...(errno !== undefined && { errno }) });
  });

test('without outcome there is no result', () => {
  assert.is(outcomeOf({ ...event(ESTABLISHED), ended: undefined, cause: undefined }), undefined);
});

test.run();
