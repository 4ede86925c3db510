/**
 * Prints the programs that the build keeps for the kernel of its machine (trace/prebuilt.ts): those of common
 * command lines, with the first probe type that this kernel has. The build runs this; no command does.
 */
import { Kernel } from '../loader/kernel.ts';
import { programsToText } from '../programs/prebuilt.ts';
import type { Flags } from './arguments/flags.ts';
import { optionsFrom } from './arguments/request.ts';
import { switchesIn } from './arguments/switches.ts';
import { traceTarget } from './trace/btf.ts';
import { resolveFilter } from './trace/filter.ts';
import { prebuiltKey } from './trace/prebuilt.ts';
import { toolOptions, withFirstProbe } from './trace/probes.ts';

/** The command lines whose programs are kept. A dry run chooses the probe type without loading a program. */
const COMMAND_LINES = [[], ['--json'], ['--outcome'], ['--failed'], ['--who']];

const kernel = new Kernel();
for (const args of COMMAND_LINES) {
  const options = optionsFrom(switchesIn([...args, '--dry-run']) as Flags, undefined);
  const target = () => traceTarget(options, kernel);
  const programs = await withFirstProbe(options, kernel, target, (first) => first);
  const asked = toolOptions(programs.probe, options, resolveFilter(options.filter, kernel));
  const key = prebuiltKey(asked, kernel);
  if (key !== undefined) process.stdout.write(`${key}\t${programsToText(programs)}\n`);
}
