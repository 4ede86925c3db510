/** `tsbpf dump`: a loaded program, as `bpftool prog dump xlated linum` gives it, and the names of its maps. */
import { signatureOf } from '../../asm/btf/signature.ts';
import { SLOT } from '../../asm/encode.ts';
import { LDDW } from '../../asm/opcodes.ts';
import { dumpInstructions } from '../../asm/xlated.ts';
import { kernelSymbols } from '../../loader/kallsyms.ts';
import { Kernel } from '../../loader/kernel.ts';
import { NoSuchProgram } from '../../loader/loaded/find.ts';
import { type LoadedProgram, readLoaded } from '../../loader/loaded.ts';
import type { Request } from './arguments.ts';
import { instructionLine } from './lines.ts';

export function dump({ program, opcodes }: Extract<Request, { action: 'dump' }>): void {
  const kernel = new Kernel();
  const loaded = readLoaded(kernel, program);
  if (loaded.bytes.length === 0)
    throw new NoSuchProgram(
      `the kernel keeps the instructions of program ${loaded.id} from this process: sysctl kernel.kptr_restrict and net.core.bpf_jit_harden decide, and CAP_SYSLOG`,
    );
  process.stdout.write(describe(kernel, loaded, opcodes));
}

function describe(kernel: Kernel, loaded: LoadedProgram, opcodes: boolean): string {
  const { bytes, btf, maps } = loaded;
  const headings = new Map(loaded.headings.map(({ slot, type }) => [slot, type]));
  const lines = new Map(loaded.lines.map((line) => [line.slot, line]));
  const instructions = dumpInstructions(bytes, kernelSymbols(kernel, loaded.functions));
  return instructions
    .map(({ slot, text, map }) => {
      const heading = headings.get(slot);
      const source = lines.get(slot);
      const size = SLOT * (bytes[slot * SLOT] === LDDW ? 2 : 1);
      const name = map === undefined ? undefined : maps.get(map);
      return [
        heading !== undefined && btf ? `${signatureOf(btf, heading)}:\n` : '',
        source
          ? `; ${source.text} [file:${source.file} line_num:${source.line} line_col:${source.column}]\n`
          : '',
        instructionLine(
          slot,
          text,
          opcodes ? bytes.subarray(slot * 8, slot * 8 + size) : undefined,
          name || undefined,
        ),
      ].join('');
    })
    .join('');
}
