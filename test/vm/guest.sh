# The first program in the guest's root disk: completes the system, runs the job and reports its exit status.
# Standard output, standard error and the exit status have a virtio port each, because the console also
# carries the kernel's messages.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8

quietly() {
  "$@" 2>/dev/null
}

mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
ln -sf /proc/self/fd /dev/fd
ln -sf /proc/self/fd/0 /dev/stdin
ln -sf /proc/self/fd/1 /dev/stdout
ln -sf /proc/self/fd/2 /dev/stderr
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
quietly mount -t securityfs securityfs /sys/kernel/security
ip link set lo up
hostname lab
quietly sysctl -wq net.mptcp.enabled=1

port() {
  tries=0
  while [ $tries -lt 100 ]; do
    for entry in /sys/class/virtio-ports/*; do
      if [ "$(quietly cat "$entry/name")" = "$1" ] && [ -e "/dev/${entry##*/}" ]; then
        echo "/dev/${entry##*/}"
        return
      fi
    done
    tries=$((tries + 1))
    sleep 0.05
  done
  echo "lab: no port $1" >/dev/console
  reboot -f
}
out=$(port out)
err=$(port err)
status=$(port status)

# Pipes, because a port cannot be opened twice and is no regular standard output.
mkfifo /run/lab/out /run/lab/err
cat /run/lab/out >"$out" &
out_pid=$!
cat /run/lab/err >"$err" &
err_pid=$!

cd /tsbpf
setsid /bin/sh /run/lab/job.sh </dev/null >/run/lab/out 2>/run/lab/err
code=$?

# Processes that the job left running may hold the pipes open forever: wait for them only a moment.
(
  sleep 2
  kill $out_pid $err_pid
) 2>/dev/null &
wait $out_pid $err_pid
echo "exit $code" >"$status"
reboot -f
