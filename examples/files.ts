/**
 * Shows removed and renamed files: PID, command, file, new name.
 *
 *     npx tsx examples/files.ts
 *
 * One program runs at every system call. It tail-calls the program in the slot of the system call's number,
 * if any.
 */
import {
  type Builder,
  chars,
  getCurrentComm,
  getCurrentPidTgid,
  Kernel,
  perfEventArray,
  probeReadUserStr,
  programArray,
  rawTracepoint,
  Session,
  struct,
  subprogram,
  systemCallNumber,
  target,
  u32,
  u64,
} from 'tsbpf';

const kernel = new Kernel();
const on = target(process.arch, kernel.btf);
const calls = programArray('calls', { maxEntries: 512 });
const Task = struct({ tid: u32, pid: u32 });
const Text = struct({ text: chars(96) });
const Event = struct({ task: Task, comm: chars(16), from: Text, to: Text });
const events = perfEventArray('events', Event);

/** Copies a string of the process into a zeroed event. A subprogram, because a rename copies two strings. */
const copyText = subprogram('copy_text', [Text, u64], (b, to, address) => {
  b.call(probeReadUserStr, to.text, address);
});

// sys_enter(struct pt_regs *regs, long id)
const onCall = rawTracepoint('sys_enter', on, (b) => b.tailCall(calls, b.arg(1)));

/** A program for a system call with a path as second argument, and optionally another as fourth. */
const handler = (name: string, names: { readonly from: 1; readonly to?: 3 }) => {
  const body = (b: Builder) => {
    b.keep(b.context);
    const event = b.stack(Event);
    event.set(0);
    const { from, to } = b.kernel('pt_regs', b.arg(0)).systemCallArguments(names);
    b.call(copyText, event.from, from);
    if (to) b.call(copyText, event.to, to);
    event.task.set(b.call(getCurrentPidTgid));
    b.call(getCurrentComm, event.comm);
    b.output(events, event);
  };
  return rawTracepoint('sys_enter', on, body, { name });
};
const renamed = handler('renamed', { from: 1, to: 3 });
const programs = {
  [systemCallNumber(on, 'unlinkat')]: handler('removed', { from: 1 }),
  [systemCallNumber(on, 'renameat')]: renamed,
  [systemCallNumber(on, 'renameat2')]: renamed,
};

const session = Session.open(
  {
    name: 'files',
    programs: [onCall],
    tailCalled: [{ array: calls, programs }],
    events,
  },
  {
    kernel,
    onEvent: ({ task, comm, from, to }) =>
      console.log(
        `${String(task.pid).padEnd(7)} ${comm.padEnd(15)} ${from.text}${to.text && ` -> ${to.text}`}`,
      ),
    onLost: (count) => console.error(`${count} events lost`),
  },
);
console.log('PID     COMM            FILE');
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => session.close());
