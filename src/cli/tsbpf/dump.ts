/**
 * `tsbpf dump`: prints a loaded program in the form of `bpftool prog dump xlated linum`, with the names of
 * its maps.
 */
import { signatureOf } from '../../asm/btf/signature.ts';
import { SLOT } from '../../asm/encode.ts';
import { LDDW } from '../../asm/opcodes.ts';
import { dumpInstructions, type Symbols } from '../../asm/xlated.ts';
import { NoSuchProgramError } from '../../loader/errors.ts';
import { kernelSymbols } from '../../loader/kallsyms.ts';
import { Kernel } from '../../loader/kernel.ts';
import { type LoadedProgram, readLoadedProgram } from '../../loader/loaded.ts';
import type { Request } from './arguments.ts';
import { printAll } from './io.ts';
import { headingLine, instructionLine, sourceLine } from './lines.ts';

export function dump({ program, opcodes }: Extract<Request, { action: 'dump' }>): void {
  const kernel = new Kernel();
  const loaded = readLoadedProgram(kernel, program);
  if (loaded.bytes.length === 0)
    throw new NoSuchProgramError(
      `the kernel hides the instructions of program ${loaded.id} from this process; check sysctl kernel.kptr_restrict and net.core.bpf_jit_harden, or use CAP_SYSLOG`,
    );
  printAll(loadedLines(loaded, kernelSymbols(kernel, loaded.functions), opcodes));
}

/** The lines of a dump. Names and source lines are foreign text, so they are escaped. */
export function* loadedLines(
  { bytes, btf, maps, ...loaded }: LoadedProgram,
  symbols: Symbols,
  opcodes: boolean,
): Generator<string> {
  const functionTypes = new Map(loaded.functionInfo.map(({ slot, type }) => [slot, type]));
  const lines = new Map(loaded.lines.map((line) => [line.slot, line]));
  for (const { slot, text, map } of dumpInstructions(bytes, symbols)) {
    const functionType = functionTypes.get(slot);
    const source = lines.get(slot);
    const size = SLOT * (bytes[slot * SLOT] === LDDW ? 2 : 1);
    const name = map === undefined ? undefined : maps.get(map);
    if (functionType !== undefined && btf) yield headingLine(signatureOf(btf, functionType));
    if (source) yield sourceLine(source);
    yield instructionLine(
      slot,
      text,
      opcodes ? bytes.subarray(slot * SLOT, slot * SLOT + size) : undefined,
      name || undefined,
    );
  }
}
