/**
 * The command with `--top`: it aggregates connects like `--summary`, and shows them on a live screen.
 */
import type { Kernel } from '../loader/kernel.ts';
import { type AggregationOptions, openAggregation } from './aggregate/aggregation.ts';
import { COUNTED_AS_OTHER } from './aggregate/snapshot.ts';
import { openRun, type Run, warn } from './run.ts';
import { isTerminal } from './terminal.ts';
import { layout, pageSize } from './top/layout.ts';
import { Screen } from './top/screen.ts';
import { type Action, initialState, reduce, type State } from './top/state.ts';

/** The most distinct warnings that wait for the end of the screen. */
const MAX_WARNINGS = 100;

/** Shows a live screen until a key or a signal ends it. Throws the error that prevents it. */
export async function showTop(options: AggregationOptions, kernel: Kernel): Promise<void> {
  const screen = new Screen();
  const warnings = new Warnings();
  let last: State | undefined;
  try {
    const run = openRun(kernel.syscalls);
    try {
      last = await showIn(screen, options, kernel, run, warnings);
    } finally {
      screen.close();
      await run.close();
    }
  } finally {
    screen.close();
    warnings.flush();
    if (last) for (const [text, count] of last.losses) warn(`${count} ${text}`);
    if (last && last.overflowed > 0) warn(`${last.overflowed} connects ${COUNTED_AS_OTHER}`);
    if (last && !options.quiet) warn(`${last.connects} connects counted`);
  }
}

/** Shows the screen, and returns its last state. */
async function showIn(
  screen: Screen,
  options: AggregationOptions,
  kernel: Kernel,
  run: Run,
  warnings: Warnings,
): Promise<State> {
  const { by, intervalMs = 0 } = options.summary;
  const timers: NodeJS.Timeout[] = [];
  const aggregation = await openAggregation(options, kernel, { warn: warnings.add, list: () => {} });
  try {
    const { probe } = aggregation.programs;
    const subject = { host: kernel.host, kernel: kernel.release, probe, intervalMs, parts: by.parts };
    let state = initialState(subject, screen.size);
    const apply = (action: Action) => {
      state = reduce(state, action, pageSize);
      if (state.ended) run.end();
      else screen.draw(layout(state));
    };
    const readNext = () => {
      try {
        apply({ type: 'snapshot', snapshot: aggregation.read() });
      } catch (error) {
        run.end(error as Error);
      }
    };
    screen.start(run.output, {
      onKey: (key) => apply({ type: 'key', key }),
      onSize: (size) => apply({ type: 'size', size }),
      onGone: () => run.end(),
    });
    warnings.showBy((text) => apply({ type: 'message', text }));
    screen.draw(layout(state));
    timers.push(setInterval(readNext, intervalMs));
    if (options.durationMs !== undefined) timers.push(setTimeout(() => run.end(), options.durationMs));
    const error = await run.ended;
    for (const timer of timers.splice(0)) clearTimeout(timer);
    screen.close();
    aggregation.detach();
    state = reduce(state, { type: 'snapshot', snapshot: aggregation.read() }, pageSize);
    if (error) throw error;
    return state;
  } finally {
    for (const timer of timers) clearTimeout(timer);
    screen.close();
    aggregation.close();
  }
}

/**
 * Warnings: printed at once before the screen is shown. Then, if stderr is a terminal, they are shown on the
 * screen and printed at the end.
 */
class Warnings {
  /** Shows a warning on the screen. */
  #show: ((text: string) => void) | undefined;
  readonly #later = new Set<string>();

  readonly add = (text: string): void => {
    if (this.#show === undefined || !isTerminal(2)) warn(text);
    else if (this.#later.size < MAX_WARNINGS) this.#later.add(text);
    this.#show?.(text);
  };

  /** From now on, until `flush`, there is a screen. */
  showBy(show: (text: string) => void): void {
    this.#show = show;
  }

  flush(): void {
    this.#show = undefined;
    for (const text of this.#later) warn(text);
    this.#later.clear();
  }
}
