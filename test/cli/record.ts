import { type ConnectRecord, recordOf, rowReader, type Sources } from '../../src/cli/record.ts';
import type { ConnectEvent } from '../../src/programs/tcpconnlat/events.ts';

/** Returns a function that converts events to records. The first event has time 0. */
export function recordConverter(sources?: Sources): (event: ConnectEvent) => ConnectRecord {
  const read = rowReader(sources);
  return (event) => recordOf(read(event));
}
