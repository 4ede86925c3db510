/** `tsbpf dump`: a loaded program, as `bpftool prog dump xlated linum` gives it, and the names of its maps. */
import { signatureOf } from '../../asm/btf/signature.ts';
import { SLOT } from '../../asm/encode.ts';
import { LDDW } from '../../asm/opcodes.ts';
import { dumpInstructions, type Symbols } from '../../asm/xlated.ts';
import { kernelSymbols } from '../../loader/kallsyms.ts';
import { Kernel } from '../../loader/kernel.ts';
import { NoSuchProgramError } from '../../loader/loaded/find.ts';
import { type LoadedProgram, readLoadedProgram } from '../../loader/loaded.ts';
import type { Request } from './arguments.ts';
import { headingLine, instructionLine, sourceLine } from './lines.ts';
import { printAll } from './print.ts';

export function dump({ program, opcodes }: Extract<Request, { action: 'dump' }>): void {
  const kernel = new Kernel();
  const loaded = readLoadedProgram(kernel, program);
  if (loaded.bytes.length === 0)
    throw new NoSuchProgramError(
      `the kernel keeps the instructions of program ${loaded.id} from this process: sysctl kernel.kptr_restrict and net.core.bpf_jit_harden decide, and CAP_SYSLOG`,
    );
  printAll(loadedLines(loaded, kernelSymbols(kernel, loaded.functions), opcodes));
}

/** The lines of a loaded program's dump. Its names and source lines are foreign text. */
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
