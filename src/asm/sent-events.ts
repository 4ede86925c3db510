/** The events that programs send, compared with the schema by which they are read. */
import type { TSchema } from '@sinclair/typebox';
import { withSourcePosition } from './error-position.ts';
import type { SentEvent } from './instruction.ts';
import { type Layout, layoutOf, sameLayout } from './layout.ts';
import { isEvents } from './map.ts';
import type { Tool } from './program.ts';
import { instructionsIn, programsOf } from './tool-parts.ts';

/** @throws {TypeError} if the map of an event has a schema of another layout than the event. */
export function requireSchemaOfMap(sent: SentEvent): void {
  if (isEvents(sent.map)) requireLayout(sent, sent.map.event);
}

/**
 * Compares the schema by which a tool reads its events with that of their map, and with every event that its
 * programs send. A program of raw instructions does not say what it sends.
 * @throws {TypeError} for another layout; for that of an event, with the line that sends it.
 */
export function checkSentEvents(tool: Tool): void {
  const { name, events } = tool;
  if (events === undefined) return;
  if (isEvents(events.map) && !sameLayout(layoutOf(events.map.event), layoutOf(events.schema)))
    throw new TypeError(
      `the tool ${name} reads the events of ${events.map.name} by another schema than the map's own: give both the same`,
    );
  for (const program of programsOf(tool))
    for (const { sends, position } of instructionsIn(program.instructions))
      if (sends?.map === events.map)
        try {
          requireLayout(sends, events.schema);
        } catch (error) {
          throw withSourcePosition(error, position);
        }
}

function requireLayout({ name, layout, map }: SentEvent, schema: TSchema): void {
  const wanted = layoutOf(schema);
  if (sameLayout(wanted, layout)) return;
  throw new TypeError(
    `${name} (${describe(layout)}) is not of the schema of the events of ${map.name} (${describe(wanted)})`,
  );
}

function describe({ kind, size }: Layout): string {
  return `${kind} of ${size} bytes`;
}
