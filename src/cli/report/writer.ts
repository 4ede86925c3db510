/** Collects the connects of a report, finds the names of destinations, and writes the file. */
import { printable } from '../../asm/printable.ts';
import type { Options } from '../arguments.ts';
import { type ReverseName, ReverseNames, systemResolver } from '../printer/reverse-names.ts';
import { services } from '../printer/services.ts';
import type { ConnectRecord, ConnectRow } from '../record.ts';
import { pageAssets } from './assets.ts';
import { Collector, type Names } from './collector.ts';
import { MAX_DESTINATIONS } from './destinations.ts';
import { ReportFile } from './file.ts';
import { counted } from './format.ts';
import { type Facts, reportPage } from './html.ts';

/** How long the end of a run waits for the names of destinations, in ms. */
const NAMES_TIMEOUT_MS = 1000;
const POLL_MS = 20;

/** An open report. The caller closes it. */
export interface ReportWriter {
  /** Whether root can write the file only with the capability CAP_DAC_OVERRIDE. */
  readonly needsOverride: boolean;
  /** Adds a connect that ended at `timeMs`, in ms since the epoch. */
  addRow(row: ConnectRow, timeMs: number): void;
  addRecord(record: ConnectRecord, timeMs: number): void;
  /** Writes the file, and returns a message about it. @throws {OutputError} */
  write(facts: Facts): Promise<string>;
  close(): void;
}

/** A file that a report must not overwrite. */
export interface Input {
  readonly dev: bigint;
  readonly ino: bigint;
}

/**
 * Checks that a report can be written to a file, which does not change before `write`. `input` is the
 * recording that the report is made of.
 * @throws {OutputError}
 */
export async function openWriter(
  path: string,
  { resolve }: Pick<Options, 'resolve'>,
  input?: Input,
): Promise<ReportWriter> {
  const assets = pageAssets();
  const file = new ReportFile(path, input);
  const collector = new Collector();
  const lookup = resolve ? await destinationNames() : undefined;
  let connects = 0;
  const added = () => {
    connects += 1;
    if (isPowerOfTwo(connects)) lookup?.ask(collector);
  };
  return {
    needsOverride: file.needsOverride,
    addRow(row, timeMs) {
      collector.addRow(row, timeMs);
      added();
    },
    addRecord(record, timeMs) {
      collector.addRecord(record, timeMs);
      added();
    },
    async write(facts) {
      collector.include(facts.startMs);
      collector.include(facts.endMs);
      await lookup?.settle(collector);
      const page = reportPage(collector.data(lookup?.names), collector.totals(), facts, assets);
      file.write(page);
      const size = Math.ceil(Buffer.byteLength(page) / 1024);
      return `report: ${printable(path)} (${counted(collector.connects, 'connect')}, ${size} KiB)`;
    },
    close() {
      lookup?.close();
      file.close();
    },
  };
}

function isPowerOfTwo(number: number): boolean {
  return (number & (number - 1)) === 0;
}

interface DestinationNames {
  /** Starts queries for new destinations. */
  ask(collector: Collector): void;
  /** Asks for all destinations, and waits for the answers. */
  settle(collector: Collector): Promise<void>;
  readonly names: Names;
  close(): void;
}

async function destinationNames(): Promise<DestinationNames> {
  const lookup = new ReverseNames(await systemResolver(), () => {}, {
    timeoutMs: NAMES_TIMEOUT_MS,
    queued: MAX_DESTINATIONS,
    answers: MAX_DESTINATIONS,
  });
  const known = new Map<string, ReverseName>();
  const servicesByPort = services();
  const ask = (collector: Collector) => {
    for (const { address } of collector.destinations) {
      const name = known.get(address);
      if (name?.name === undefined) known.set(address, lookup.of(address));
    }
  };
  return {
    ask,
    async settle(collector) {
      ask(collector);
      const isPending = () => [...known.values()].some(({ pending }) => pending);
      for (let waited = 0; waited < NAMES_TIMEOUT_MS && isPending(); waited += POLL_MS)
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    },
    names: { host: (address) => known.get(address)?.name, service: (port) => servicesByPort.get(port) },
    close: () => lookup.close(),
  };
}
