/** Archives in the kernel's initramfs format (cpio "newc", Documentation/driver-api/early-userspace). */

/** A file, folder or symbolic link of an archive. */
export interface CpioEntry {
  /** Relative to the root, without a leading slash. Its folder must precede it. */
  readonly path: string;
  /** File type and permission bits, as in `st_mode`. */
  readonly mode: number;
  /** The content, or the target of the link. */
  readonly data?: Uint8Array;
}

/** `st_mode` of a folder, a program and a plain file. */
export const FOLDER = 0o040755;
export const PROGRAM = 0o100755;
export const PLAIN = 0o100644;

const padded = (bytes: Uint8Array): Buffer => {
  const length = Math.ceil(bytes.length / 4) * 4;
  return Buffer.concat([bytes, Buffer.alloc(length - bytes.length)]);
};

function member(inode: number, { path, mode, data = Buffer.alloc(0) }: CpioEntry): Buffer {
  const name = Buffer.from(`${path}\0`);
  // inode, mode, uid, gid, links, mtime, size, four device numbers, name length, no checksum
  const fields = [inode, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length, 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
  return Buffer.concat([padded(Buffer.concat([Buffer.from(header), name])), padded(data)]);
}

/** Creates an archive. The kernel unpacks consecutive archives of an initramfs on top of each other. */
export function cpio(entries: readonly CpioEntry[]): Buffer {
  const members = entries.map((entry, index) => member(index + 1, entry));
  return Buffer.concat([...members, member(0, { path: 'TRAILER!!!', mode: 0 })]);
}
