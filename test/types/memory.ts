/** Memory has the form of its schema, and one method writes it. Compiled by `npm run check`, never run. */
import { arrayOf, chars, type Place, rawTracepoint, struct, target, u8, u32, u64, union } from 'tsbpf';
import { holds, type Same } from './same.ts';

const Task = struct({ pid: u32, comm: chars(16) });
const Event = struct({ task: Task, ids: arrayOf(u32, 4), address: union({ v4: u32, v6: arrayOf(u8, 16) }) });
const Clashing = struct({ set: u32, field: Task });

rawTracepoint('sys_enter', target('x64'), (b) => {
  const event = b.stack(Event);
  event.set(0);
  event.task.set(event.task);
  event.task.pid.set(b.value(1).as(u32));
  event.ids.set(0);
  event.ids.at(1).set(2);
  event.address.v4.set(1);
  event.task.comm.set(0);
  holds<Same<typeof event.task.pid, Place>>();
  // @ts-expect-error: no field of the schema
  event.task.port;
  // @ts-expect-error: text is no number
  event.task.comm.set('x');
  // @ts-expect-error: structs have no atomic operations
  event.task.atomicAdd(1);
  // @ts-expect-error: memory is written by its own set()
  b.set(event, 0);

  const clashing = b.stack(Clashing);
  clashing.set(0);
  clashing.field('set').set(1);
  clashing.field('field').pid.set(1);
  // @ts-expect-error: the method hides the field
  clashing.set.set(1);
  // @ts-expect-error: no field of the schema
  clashing.field('port');

  const number = b.stack(u64, 1);
  holds<Same<typeof number, Place>>();
});
