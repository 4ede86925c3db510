#!/bin/busybox sh
# The first program of the guest, in the initramfs: mounts the disks and the kernel's file systems, then
# executes guest.sh in the root disk.
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

# Disks appear a moment after their driver is loaded.
tries=0
while [ ! -b /dev/vdc ]; do
  tries=$((tries + 1))
  [ $tries -lt 100 ] || fail 'the disks did not show up'
  sleep 0.05
done

mount -t ext4 -o ro,noatime /dev/vda /root || fail 'no root disk'
mount -t ext4 -o ro,noatime /dev/vdb /root/usr/lib/modules || fail 'no module disk'
mount -t ext4 -o ro,noatime /dev/vdc /root/tsbpf || fail 'no project disk'
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
