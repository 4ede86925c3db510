/**
 * The command with `--prometheus` or `--otlp`: it aggregates connects like `--summary`, and exports them
 * instead of showing them.
 */
import type { Kernel } from '../loader/kernel.ts';
import { type Aggregation, type AggregationOptions, openAggregation } from './aggregate/aggregation.ts';
import { COUNTED_AS_OTHER, connectsIn } from './aggregate/snapshot.ts';
import type { ExporterOptions } from './exporter-options.ts';
import type { RunFacts } from './exporters/self-metrics.ts';
import { openExporters, type Source } from './exporters.ts';
import { openRun, warn } from './run.ts';
import { countInFlight } from './trace/in-flight.ts';
import { AGGREGATION_LOSSES } from './trace/losses.ts';

/** The options of a run that exports. */
export type ExportOptions = AggregationOptions & { readonly exporters: ExporterOptions };

/** Exports until a signal arrives. Throws the error that prevents it; nothing is attached then. */
export async function exportConnects(options: ExportOptions, kernel: Kernel, version: string): Promise<void> {
  const run = openRun(kernel.syscalls, { watchesReader: false });
  let timer: NodeJS.Timeout | undefined;
  const counts = { connects: 0 };
  try {
    const exporters = await openExporters(options.exporters, { host: kernel.host, version, warn });
    try {
      const list = (text: string) => run.output.write(text);
      const aggregation = await openAggregation(options, kernel, { warn, list });
      try {
        exporters.start(sourceOf(aggregation, counts, version));
        if (options.durationMs !== undefined) timer = setTimeout(() => run.end(), options.durationMs);
        const error = await run.ended;
        aggregation.detach();
        await exporters.close();
        if (error) throw error;
      } finally {
        clearTimeout(timer);
        aggregation.close();
      }
    } finally {
      await exporters.close();
    }
    if (!options.quiet) warn(`${counts.connects} connects`);
  } finally {
    await run.close();
    // An export that the collector has not answered would keep the process alive for up to 10 s.
    if (options.exporters.otlp !== undefined) setImmediate(() => process.exit());
  }
}

/** Reads an aggregation, and warns about losses as they happen. */
function sourceOf(aggregation: Aggregation, counts: { connects: number }, version: string): Source {
  const { programs, session } = aggregation;
  const losses = new Map<string, number>(AGGREGATION_LOSSES.map((cause) => [cause, 0]));
  let warnedOfOther = false;
  return {
    build: { version, probe: programs.probe },
    read() {
      const snapshot = aggregation.read();
      counts.connects += connectsIn(snapshot);
      for (const [count, text] of snapshot.losses) {
        losses.set(text, (losses.get(text) ?? 0) + count);
        warn(`${count} ${text}`);
      }
      if (snapshot.overflowed > 0 && !warnedOfOther) {
        warnedOfOther = true;
        warn(`connects are ${COUNTED_AS_OTHER}`);
      }
      return snapshot;
    },
    facts: (): RunFacts => ({
      programs: session.programs.map((program) => {
        const { runs, runNs } = program.info();
        return { name: program.spec.name, runs, runNs };
      }),
      maps: [
        { name: 'keys', entries: aggregation.keys.used, maxEntries: aggregation.keys.capacity },
        {
          ...{ name: programs.attempts.name, maxEntries: programs.attempts.maxEntries },
          entries: countInFlight(session, programs),
        },
      ],
      losses: [...losses].map(([cause, count]) => [count, cause] as const),
    }),
  };
}
