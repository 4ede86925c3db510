/**
 * Loading a refused program again for the verifier's log: all of it, and with the author's lines in it.
 *
 * Source: man 2 bpf; kernel/bpf/log.c (`bpf_verifier_vlog`).
 */
import { allocate } from '../bpf.ts';
import { type BtfFields, withProgramBtf } from '../debug-info.ts';
import { Errno } from '../errno.ts';
import { type KernelError, VerifierError } from '../errors.ts';
import { summarize } from '../verifier/log.ts';
import { lacksStates } from '../verifier/state.ts';
import { buildAttr, LOG_TRUE_SIZE, type Request, send, type Variant } from './request.ts';
import { isInconclusive, isVerdict, loadFailure } from './verdict.ts';

/** What the log is to hold: `BPF_LOG_LEVEL1`, `BPF_LOG_LEVEL2`, `BPF_LOG_STATS`. Each has the reason. */
const LogLevel = { walk: 1, states: 2, statistics: 4 } as const;

const FIRST_LOG = 64 * 1024;
/** What every kernel takes: UINT_MAX >> 8 was the limit before 5.2. */
const LARGEST_LOG = 16 * 1024 * 1024 - 1;

/** A load with the log on: the descriptor or minus the errno, and what the verifier had to say. */
export interface Logged {
  readonly result: number;
  readonly log: string;
  /** Bytes that the log takes, as far as the kernel tells; 0 where this is all of it. */
  readonly wanted: number;
}

/**
 * Why the verifier refused the program: by its whole log with the author's lines in it, where the kernel takes those and refuses it
 * just so again. `first` is what fitted the first buffer. Should the program not be refused any more, that is the descriptor.
 */
export function verifierError(
  request: Request,
  variant: Variant,
  errno: number,
  first: Logged,
): number | KernelError {
  const { kernel, spec, assembled, locate } = request;
  const positioned = assembled.instructions.some(({ instruction }) => instruction.position !== undefined);
  const size = first.wanted > LARGEST_LOG ? FIRST_LOG : first.wanted;
  const described = positioned
    ? withBtf(request, (types) => {
        const whole = wholeLog(request, variant, { size, types });
        return saysTheSame(whole, first) ? withStates(request, variant, whole, types) : undefined;
      })
    : undefined;
  const logged = described ?? withStates(request, variant, wholeLog(request, variant, {}, first));
  if (logged.result >= 0) return logged.result;
  if (logged.wanted === 0 && !isVerdict(errno, logged.log)) return loadFailure(kernel, spec.name, errno);
  return new VerifierError(spec.name, errno, logged.log, summarize(logged.log), assembled, locate);
}

/** Whether a log is about the program, as the first one was, and not about the lines that came with it. */
function saysTheSame(described: Logged, first: Logged): boolean {
  if (described.result >= 0) return true;
  if (isInconclusive(-described.result)) return false;
  if (first.wanted > 0) return described.wanted > 0 || described.log.length > first.log.length;
  return described.result === first.result && summarize(described.log).reason === summarize(first.log).reason;
}

/**
 * The log with what the verifier knew at each instruction: kernels before 5.18 tell it at the second level only, which follows every way.
 */
function withStates(request: Request, variant: Variant, whole: Logged, types?: BtfFields): Logged {
  if (whole.result >= 0 || whole.wanted > 0 || !lacksStates(whole.log)) return whole;
  const detailed = wholeLog(request, variant, { level: LogLevel.states, types });
  return detailed.wanted === 0 && saysTheSame(detailed, whole) ? detailed : whole;
}

/** Loads a program with its names and lines, as far as the kernel takes them. */
export function withBtf<T>(
  { kernel, spec, assembled, locate }: Request,
  load: (types: BtfFields) => T,
): T | undefined {
  return withProgramBtf(kernel, spec.name, assembled, locate, load);
}

/** A log's buffer, what it is to hold, and what the kernel is told besides. */
interface Logging {
  readonly size?: number;
  readonly level?: number;
  readonly types?: BtfFields;
}

/** With the log on. */
export function loadLogged(request: Request, variant: Variant, logging: Logging = {}): Logged {
  const { level = LogLevel.walk, types } = logging;
  const size = Math.min(logging.size || FIRST_LOG, LARGEST_LOG);
  const buffer = allocate(size);
  const attr = buildAttr(request, variant, { log: { buffer, level }, types });
  const result = send(request.kernel, attr);
  if (result >= 0) return { result, log: '', wanted: 0 };
  // The kernel says how much it needs since 6.4.
  const wanted = result === -Errno.ENOSPC ? Math.max(size * 4, attr.getU32(LOG_TRUE_SIZE)) : 0;
  return { result, log: decodeLog(buffer), wanted };
}

/**
 * All of the log, in a buffer that grows; `begun` is what there is of it. Of one that fits no buffer there is the end since Linux 6.4, in
 * a small one as well; before, its end is lost, and the reason is had without the walk that fills it.
 */
function wholeLog(request: Request, variant: Variant, logging: Logging, begun?: Logged): Logged {
  let whole = begun ?? loadLogged(request, variant, logging);
  for (let size = logging.size || FIRST_LOG; whole.wanted > 0 && size < LARGEST_LOG; ) {
    if (whole.wanted > LARGEST_LOG && hasItsEnd(whole)) break;
    size = Math.min(whole.wanted, LARGEST_LOG);
    const larger = loadLogged(request, variant, { ...logging, size });
    // This check was interrupted: its log is shorter.
    if (isInconclusive(-larger.result)) break;
    whole = larger;
  }
  if (whole.wanted === 0 || hasItsEnd(whole)) return whole;
  const reason = loadLogged(request, variant, { ...logging, size: FIRST_LOG, level: LogLevel.statistics });
  return reason.log === '' || isInconclusive(-reason.result) ? whole : reason;
}

function hasItsEnd({ log }: Logged): boolean {
  return /^processed \d+ insns/m.test(log.slice(-FIRST_LOG));
}

function decodeLog(log: Uint8Array): string {
  const end = log.indexOf(0);
  return Buffer.from(log.buffer, 0, end < 0 ? log.byteLength : end)
    .toString('utf8')
    .trim();
}
