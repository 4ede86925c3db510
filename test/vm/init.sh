#!/bin/busybox sh
# The guest's first program, in the initramfs: mounts the disks and what the kernel shows of itself, then goes on as
# guest.sh in the root disk.
/bin/busybox --install -s /bin
export PATH=/bin

fail() {
  echo "lab: $*"
  reboot -f
}

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do
  [ -e "$module" ] && insmod "$module"
done

# Disks show up when their driver has looked for them, which is a moment after it was loaded.
tries=0
while [ ! -b /dev/vdc ]; do
  tries=$((tries + 1))
  [ $tries -lt 100 ] || fail 'the disks did not show up'
  sleep 0.05
done

mount -t ext4 -o ro,noatime /dev/vda /root || fail 'no root disk'
mount -t ext4 -o ro,noatime /dev/vdb /root/usr/lib/modules || fail 'no disk of modules'
mount -t ext4 -o ro,noatime /dev/vdc /root/tsbpf || fail 'no disk of the project'
for folder in run tmp root var home; do
  mount -t tmpfs -o mode=0755 tmpfs /root/$folder
done
chmod 1777 /root/tmp
mkdir /root/run/lab
cp /guest.sh /job.sh /root/run/lab/

mount --move /proc /root/proc
mount --move /sys /root/sys
mount --move /dev /root/dev
exec switch_root /root /usr/bin/sh /run/lab/guest.sh
fail 'no root to switch to'
