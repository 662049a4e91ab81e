#!/bin/bash
# boot_device.sh: one Android device with the real adbd, in the network namespace $NAMESPACE; boots again after a reboot.
# The environment says all: NAMESPACE, ROOT (a Debian root with adbd), WORK (its writable files), FILES (this
# directory), PROPERTIES_LIBRARY, DISK (size of /data), BOOT_SECONDS.
set -eu
system=$WORK/system upper=$WORK/upper overlay=$WORK/overlay device=$WORK/root
mkdir -p "$upper" "$overlay" "$device"
export system upper overlay device
while :; do
    status=0
    ip netns exec "$NAMESPACE" unshare --mount --pid --fork --kill-child bash -eu -c '
        mount --make-rprivate /
        mount -t overlay overlay -o "lowerdir=$system:$ROOT,upperdir=$upper,workdir=$overlay" "$device"
        mkdir -p "$device/opt" "$device/data/local/tmp" "$device/sys"
        cp "$PROPERTIES_LIBRARY" "$device/opt/properties.so"
        cp "$FILES/device_init.sh" "$device/opt/init.sh"
        ln -sf mksh "$device/bin/sh"
        mount --bind "$WORK/data" "$device/data/local/tmp"
        mount -t proc proc "$device/proc"
        cat /proc/sys/kernel/random/uuid > "$WORK/boot_id"
        mount --bind "$WORK/boot_id" "$device/proc/sys/kernel/random/boot_id"
        mount --bind "$WORK/sys" "$device/sys"
        mount -t tmpfs tmpfs "$device/run"
        mount -t tmpfs tmpfs "$device/dev" -o mode=755
        mkdir -p "$device/dev/pts"
        mount -t devpts devpts "$device/dev/pts" -o newinstance,ptmxmode=0666,mode=620
        ln -sf pts/ptmx "$device/dev/ptmx"
        for node in null zero full random urandom tty; do
            touch "$device/dev/$node"
            mount --bind "/dev/$node" "$device/dev/$node"
        done
        exec chroot "$device" env -i PATH=/system/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/ ADBD_PORT=5555 \
            /bin/bash /opt/init.sh /usr/sbin/adbd
    ' || status=$?
    [ "$status" = 42 ] || exit "$status"
    sleep "${BOOT_SECONDS:-1}"
done
