import { callKernelFunction, mov } from '../../src/asm/constructors.ts';
import { r1 } from '../../src/asm/registers.ts';
import { kernelTypes } from '../../src/asm/target.ts';
import { rejectedWithTypes } from './rejection.ts';

/** A task is held on to by a function of the kernel's, and never let go. */
export const rejection = rejectedWithTypes(
  { hint: /given back/, since: { having: 'bpf_task_from_pid', release: '6.2' } },
  (b) => {
    const acquire = kernelTypes(b.target).find('func', 'bpf_task_from_pid') ?? 0;
    b.emit(mov(r1, 1), callKernelFunction(acquire));
  },
);
