/** Return values, and the parameters of subprograms. Compiled by `npm run check`, never run. */
import {
  chars,
  fexit,
  type KernelPointer,
  kretprobe,
  type Memory,
  out,
  type Place,
  s32,
  struct,
  subprogram,
  target,
  u32,
  u64,
  type Value,
} from 'tsbpf';
import { holds, type Same } from './same.ts';

const Task = struct({ pid: u32, comm: chars(16) });
const Other = struct({ port: u32 });

const fill = subprogram('fill', [u64, out(Task)], (b, id, task) => {
  holds<Same<typeof id, Value>>();
  holds<Same<typeof task, Memory<typeof Task>>>();
  task.set(0);
  task.pid.set(id.as(u32));
  // @ts-expect-error: no field of the schema
  task.port;
  b.return();
});
const sign = subprogram('sign', [u64], (b, x) => b.return(x.as(s32)), { returns: s32 });

kretprobe('tcp_v4_connect', target('x64'), (b) => {
  holds<Same<typeof b.retval, Place>>();
  b.if(b.retval.as(s32).eq(0), () => b.exit());
  // @ts-expect-error: the name before
  b.returned;

  const task = b.stack(Task);
  const result = b.call(fill, 1, task);
  holds<Same<typeof result, Value>>();
  b.call(fill, b.arg(0), task);
  b.call(sign, result);
  b.call(fill, b.kernel('sock', b.arg(0)) satisfies KernelPointer, task);
  // @ts-expect-error: memory for a number
  b.call(fill, task, task);
  // @ts-expect-error: the memory of another struct
  b.call(fill, 1, b.stack(Other));
  // @ts-expect-error: a number for memory
  b.call(fill, 1, 2);
  // @ts-expect-error: an argument is missing
  b.call(fill, 1);
  // @ts-expect-error: an argument too many
  b.call(sign, 1, 2);
});

fexit('tcp_v4_connect', target('x64'), (b) => b.exit(b.retval.get()));
// @ts-expect-error: a body takes no parameters beside the builder
fexit('tcp_v4_connect', target('x64'), (b, sk) => b.exit(sk));
