/**
 * Kernel BTF for assembling tcpconnlat on any machine: the layout of sockets in Linux 6.18 on x86-64, with
 * only the fields that the programs read.
 */
import { Btf } from '../../src/asm/btf.ts';
import { parseTracepointFormat } from '../../src/asm/tracepoint-format.ts';
import { BtfWriter } from '../asm/btf-writer.ts';
import { STATE_FORMAT } from '../asm/fixtures/formats.ts';

/** The format of the tracepoint's record. */
export const stateFormat = parseTracepointFormat('sock', 'inet_sock_set_state', STATE_FORMAT);

/** The offsets of the fields in bytes. */
export const At = {
  addrpair: 0,
  portpair: 12,
  family: 16,
  state: 18,
  net: 48,
  v6Remote: 56,
  v6Local: 72,
  err: 284,
  socket: 288,
  errSoft: 372,
  protocol: 532,
  sport: 814,
  segsOut: 1536,
  segsIn: 1760,
  totalRetrans: 2200,
  taskFlags: 44,
  taskExitCode: 1164,
  taskLeader: 1328,
  taskBoottime: 1560,
  taskExecs: 2016,
  taskCgroups: 2376,
} as const;

/** The functions that kprobe and fentry attach to. */
const FUNCTIONS = [...['tcp_v4_connect', 'tcp_v6_connect', 'tcp_set_state', 'tcp_v4_destroy_sock']];
/** The functions that run cgroup programs before a connect. */
const PRE_CONNECT = ['tcp_v4_pre_connect', 'tcp_v6_pre_connect'];

/** The helpers and kernel functions that make typed reads possible. */
const TYPED = ['bpf_skc_to_tcp_sock', 'bpf_get_current_task_btf', 'bpf_rdonly_cast', 'bpf_task_pt_regs'];

export interface Variations {
  /** Whether sockets have IPv6 addresses (CONFIG_IPV6). */
  readonly ipv6?: boolean;
  /** Whether sk_protocol is an 8-bit bit field, as up to Linux 5.5. */
  readonly bitField?: boolean;
  /** The functions of the kernel. */
  readonly functions?: readonly string[];
  /** Whether the kernel has the tracepoint inet_sock_set_state. */
  readonly tracepoint?: boolean;
  /** Whether the kernel has helpers for typed pointers (Linux 5.9, 5.11, 5.15 and 6.2). */
  readonly typed?: boolean;
}

/** The BTF of a kernel with these differences from 6.18. */
export function socketTypes(variations?: Variations): Btf {
  return Btf.parse(socketBlob(variations));
}

/** The same BTF as bytes. */
export function socketBlob({
  ipv6 = true,
  bitField = false,
  functions = FUNCTIONS,
  tracepoint = true,
  typed = true,
}: Variations = {}): Uint8Array {
  const w = new BtfWriter();
  const u8 = w.int('unsigned char', 1);
  const u16 = w.int('short unsigned int', 2);
  const be16 = w.typedef('__be16', u16);
  const u32 = w.int('unsigned int', 4);
  const u64 = w.int('long unsigned int', 8);
  const s32 = w.int('int', 4, 1);
  const in6 = w.struct('in6_addr', 16, [{ name: 'u6_addr8', type: w.array(u8, 16), bits: 0 }]);
  const member = (name: string, type: number, offset: number) => ({ name, type, bits: offset * 8 });
  const namespace = w.struct('ns_common', 24, [member('inum', u32, 16)]);
  const net = w.struct('net', 4416, [member('ns', namespace, 160)]);
  const possibleNet = w.struct('', 8, [member('net', w.pointer(net), 0)]);
  const v6 = [member('skc_v6_daddr', in6, At.v6Remote), member('skc_v6_rcv_saddr', in6, At.v6Local)];
  const common = w.struct('sock_common', 136, [
    member('skc_addrpair', u64, At.addrpair),
    member('skc_portpair', u32, At.portpair),
    member('skc_family', u16, At.family),
    member('skc_state', w.volatile(u8), At.state),
    member('skc_net', possibleNet, At.net),
    ...(ipv6 ? v6 : []),
  ]);
  const socket = w.struct('socket', 128, [
    member('state', w.enum('socket_state', 4, { SS_UNCONNECTED: 1 }), 0),
  ]);
  const protocol = bitField
    ? { name: 'sk_protocol', type: u32, bits: At.protocol * 8 + 8, size: 8 }
    : member('sk_protocol', u16, At.protocol);
  const sock = w.struct(
    'sock',
    784,
    [
      member('__sk_common', common, 0),
      member('sk_err', s32, At.err),
      member('sk_socket', w.pointer(socket), At.socket),
      member('sk_err_soft', s32, At.errSoft),
      protocol,
    ],
    bitField,
  );
  const inet = w.struct('inet_sock', 1016, [member('sk', sock, 0), member('inet_sport', be16, At.sport)]);
  const connection = w.struct('inet_connection_sock', 1400, [member('icsk_inet', inet, 0)]);
  w.struct('tcp_sock', 2304, [
    member('inet_conn', connection, 0),
    member('segs_out', u32, At.segsOut),
    member('segs_in', u32, At.segsIn),
    member('total_retrans', u32, At.totalRetrans),
  ]);
  const cssSet = w.pointer(w.struct('css_set', 8, []));
  const task = cssSet + 2; // its pointer has the ID before it
  const leader = w.pointer(task);
  w.struct('task_struct', 3264, [
    member('flags', u32, At.taskFlags),
    member('exit_code', s32, At.taskExitCode),
    member('group_leader', leader, At.taskLeader),
    member('start_boottime', u64, At.taskBoottime),
    member('self_exec_id', u64, At.taskExecs),
    member('cgroups', cssSet, At.taskCgroups),
  ]);
  const in4 = w.struct('in_addr', 4, [member('s_addr', u32, 0)]);
  w.struct('sockaddr_in', 16, [member('sin_port', be16, 2), member('sin_addr', in4, 4)]);
  w.struct('sockaddr_in6', 28, [member('sin6_port', be16, 2), member('sin6_addr', in6, 8)]);
  const sockaddr = w.struct('sockaddr', 16, [member('sa_family', u16, 0)]);
  const takesSocket = w.prototype(s32, { sk: w.pointer(sock) });
  const connects = w.prototype(s32, { sk: w.pointer(sock), uaddr: w.pointer(sockaddr), addr_len: s32 });
  const setsState = w.prototype(0, { sk: w.pointer(sock), state: s32 });
  for (const name of functions)
    w.func(name, name.endsWith('_connect') ? connects : name === 'tcp_set_state' ? setsState : takesSocket);
  for (const name of typed ? TYPED : []) w.func(name, takesSocket);
  for (const name of PRE_CONNECT) w.func(name, connects);
  if (tracepoint)
    w.typedef(
      'btf_trace_inet_sock_set_state',
      w.pointer(w.prototype(0, { data: w.pointer(0), sk: w.pointer(sock), oldstate: s32, newstate: s32 })),
    );
  return w.blob();
}
