/**
 * A process that makes short system calls. Each input line holds a number of calls; the answer is the
 * CPU time in ns, which other load on the machine affects less than the duration.
 */
import { createInterface } from 'node:readline';

process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  const count = Number(line);
  const begin = process.cpuUsage();
  let sum = 0;
  for (let i = 0; i < count; i++) sum += process.ppid; // getppid(2), each time
  const { user, system } = process.cpuUsage(begin);
  process.stdout.write(`${sum > 0 ? 1000 * (user + system) : ''}\n`);
}
