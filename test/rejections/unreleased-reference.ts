import { callKernelFunction, mov } from '../../src/asm/constructors.ts';
import { r1 } from '../../src/asm/registers.ts';
import { kernelTypes } from '../../src/asm/target.ts';
import { rejectedWithTypes } from './rejection.ts';

/** Acquires a task reference with a kernel function and never releases it. */
export const rejection = rejectedWithTypes(
  { hint: /release acquired objects/, since: { having: 'bpf_task_from_pid', release: '6.2' } },
  (b) => {
    const acquire = kernelTypes(b.target).find('func', 'bpf_task_from_pid') ?? 0;
    b.emit(mov(r1, 1), callKernelFunction(acquire));
  },
);
