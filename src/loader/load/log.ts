/**
 * Loading a refused program again for the verifier's log, with source lines.
 *
 * Source: man 2 bpf; kernel/bpf/log.c (`bpf_verifier_vlog`).
 */
import { allocate } from '../bpf.ts';
import { type BtfFields, withProgramBtf } from '../debug-info.ts';
import { Errno } from '../errno.ts';
import { type KernelError, VerifierError } from '../errors.ts';
import { decodeCString, utf8 } from '../text.ts';
import { summarize } from '../verifier/log.ts';
import { lacksStates } from '../verifier/state.ts';
import { buildAttr, LOG_TRUE_SIZE, type Request, send, type Variant } from './request.ts';
import { isInconclusive, isVerdict, loadFailure } from './verdict.ts';

/** Log levels: `BPF_LOG_LEVEL1`, `BPF_LOG_LEVEL2`, `BPF_LOG_STATS`. Each includes the reason. */
const LogLevel = { walk: 1, states: 2, statistics: 4 } as const;

const FIRST_LOG = 64 * 1024;
/** The largest buffer that every kernel accepts: UINT_MAX >> 8 was the limit before 5.2. */
const LARGEST_LOG = 16 * 1024 * 1024 - 1;

/** The result of a load with the log: the descriptor or minus the errno, and the log. */
export interface Logged {
  readonly result: number;
  readonly log: string;
  /** The size of the complete log, as far as the kernel reports it. 0 if `log` is complete. */
  readonly neededBytes: number;
}

/**
 * Returns the error for a refused program, with the complete log and, if the kernel accepts debug information
 * and refuses the program for the same reason again, with its source lines. `first` is the log that fitted
 * the first buffer. Returns the descriptor if the kernel no longer refuses the program.
 */
export function verifierError(
  request: Request,
  variant: Variant,
  errno: number,
  first: Logged,
): number | KernelError {
  const { kernel, spec, assembled, locate } = request;
  const positioned = assembled.instructions.some(({ instruction }) => instruction.position !== undefined);
  const size = first.neededBytes > LARGEST_LOG ? FIRST_LOG : first.neededBytes;
  const described = positioned
    ? withBtf(request, (types) => {
        const whole = wholeLog(request, variant, { size, types });
        return isSameRefusal(whole, first) ? withStates(request, variant, whole, types) : undefined;
      })
    : undefined;
  const logged = described ?? withStates(request, variant, wholeLog(request, variant, {}, first));
  if (logged.result >= 0) return logged.result;
  if (logged.neededBytes === 0 && !isVerdict(errno, logged.log)) return loadFailure(kernel, spec.name, errno);
  return new VerifierError(spec.name, errno, logged.log, summarize(logged.log), assembled, locate);
}

/**
 * Whether a load was refused because of the program, as the first one was, and not because of its debug
 * information.
 */
function isSameRefusal(described: Logged, first: Logged): boolean {
  if (described.result >= 0) return true;
  if (isInconclusive(-described.result)) return false;
  if (first.neededBytes > 0) return described.neededBytes > 0 || described.log.length > first.log.length;
  return described.result === first.result && summarize(described.log).reason === summarize(first.log).reason;
}

/**
 * Returns the log with the verifier's state at each instruction. Kernels before 5.18 log it at level 2 only,
 * which includes every path.
 */
function withStates(request: Request, variant: Variant, whole: Logged, types?: BtfFields): Logged {
  if (whole.result >= 0 || whole.neededBytes > 0 || !lacksStates(whole.log)) return whole;
  const detailed = wholeLog(request, variant, { level: LogLevel.states, types });
  return detailed.neededBytes === 0 && isSameRefusal(detailed, whole) ? detailed : whole;
}

/** Loads a program with its BTF and source lines. Returns undefined if the kernel does not accept BTF. */
export function withBtf<T>(
  { kernel, spec, assembled, locate }: Request,
  load: (types: BtfFields) => T,
): T | undefined {
  return withProgramBtf(kernel, spec.name, assembled, locate, load);
}

/** The size and level of a log, and the BTF to load with the program. */
interface Logging {
  readonly size?: number;
  readonly level?: number;
  readonly types?: BtfFields;
}

/** Loads a program with the log. */
export function loadLogged(request: Request, variant: Variant, logging: Logging = {}): Logged {
  const { level = LogLevel.walk, types } = logging;
  const size = Math.min(logging.size || FIRST_LOG, LARGEST_LOG);
  const buffer = allocate(size);
  const attr = buildAttr(request, variant, { log: { buffer, level }, types });
  const result = send(request.kernel, attr);
  if (result >= 0) return { result, log: '', neededBytes: 0 };
  // Since 6.4 the kernel reports the size of the complete log.
  const neededBytes = result === -Errno.ENOSPC ? Math.max(size * 4, attr.getU32(LOG_TRUE_SIZE)) : 0;
  return { result, log: decodeCString(buffer, utf8).trim(), neededBytes };
}

/**
 * Loads a program with larger and larger buffers until the log fits, beginning with the result `first` if
 * there is one. If the log fits no buffer, its end is returned: since Linux 6.4 the kernel keeps the end, in
 * a small buffer as well. Before, it keeps the beginning, and a load with statistics only returns the reason.
 */
function wholeLog(request: Request, variant: Variant, logging: Logging, first?: Logged): Logged {
  let whole = first ?? loadLogged(request, variant, logging);
  for (let size = logging.size || FIRST_LOG; whole.neededBytes > 0 && size < LARGEST_LOG; ) {
    if (whole.neededBytes > LARGEST_LOG && hasEnd(whole)) break;
    size = Math.min(whole.neededBytes, LARGEST_LOG);
    const larger = loadLogged(request, variant, { ...logging, size });
    // A signal interrupted this check, so its log is shorter.
    if (isInconclusive(-larger.result)) break;
    whole = larger;
  }
  if (whole.neededBytes === 0 || hasEnd(whole)) return whole;
  const reason = loadLogged(request, variant, { ...logging, size: FIRST_LOG, level: LogLevel.statistics });
  return reason.log === '' || isInconclusive(-reason.result) ? whole : reason;
}

function hasEnd({ log }: Logged): boolean {
  return /^processed \d+ insns/m.test(log.slice(-FIRST_LOG));
}
