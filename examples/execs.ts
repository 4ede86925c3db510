/**
 * Shows every exec on the machine: PID, command, file.
 *
 *     npx tsx examples/execs.ts
 */
import {
  chars,
  getCurrentComm,
  getCurrentPidTgid,
  Kernel,
  perfEventArray,
  probeReadKernelStr,
  rawTracepoint,
  Session,
  struct,
  target,
  u32,
} from 'tsbpf';

const kernel = new Kernel();
const Exec = struct({ task: struct({ tid: u32, pid: u32 }), comm: chars(16), file: chars(128) });
const events = perfEventArray('events', Exec);

// sched_process_exec(struct task_struct *task, pid_t old_pid, struct linux_binprm *bprm)
const onExec = rawTracepoint('sched_process_exec', target(process.arch, kernel.btf), (b) => {
  b.keep(b.context);
  const event = b.stack(Exec);
  event.set(0); // a path is shorter than its field: zero the rest
  const { filename } = b.kernel(b.arg(2)).fields({ filename: 'filename' });
  b.call(probeReadKernelStr, event.file, filename);
  event.task.set(b.call(getCurrentPidTgid));
  b.call(getCurrentComm, event.comm);
  b.output(events, event);
});

const session = Session.open(
  { name: 'execs', programs: [onExec], events },
  {
    kernel,
    onEvent: ({ task, comm, file }) =>
      console.log(`${String(task.pid).padEnd(7)} ${comm.padEnd(15)} ${file}`),
    onLost: (count) => console.error(`${count} events lost`),
  },
);
console.log('PID     COMM            FILE');
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => session.close());
