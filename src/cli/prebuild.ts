/**
 * The programs that the build keeps for the kernel of its machine (trace/prebuilt.ts): those of common
 * command lines, with the first probe type that this kernel has. Only the build uses this.
 */
import type { Kernel } from '../loader/kernel.ts';
import { programsToText } from '../programs/prebuilt.ts';
import type { Flags } from './arguments/flags.ts';
import { optionsFrom } from './arguments/request.ts';
import { switchesIn } from './arguments/switches.ts';
import { traceTarget } from './trace/btf.ts';
import { prebuiltKey } from './trace/prebuilt.ts';
import { withFirstProbe } from './trace/probes.ts';

/** The command lines whose programs are kept. A dry run chooses the probe type without loading a program. */
const COMMAND_LINES = [[], ['--json'], ['--outcome'], ['--failed'], ['--who']];

/** The text of the programs for a kernel; empty if it does not tell its build ID. */
export async function prebuiltText(kernel: Kernel): Promise<string> {
  const lines: string[] = [];
  for (const args of COMMAND_LINES) {
    const options = optionsFrom(switchesIn([...args, '--dry-run']) as Flags, undefined);
    const target = () => traceTarget(options, kernel);
    lines.push(
      await withFirstProbe(options, kernel, target, (programs, _failures, { asked }) => {
        const key = prebuiltKey(asked, kernel);
        return key === undefined ? '' : `${key}\t${programsToText(programs)}\n`;
      }),
    );
  }
  return lines.join('');
}
