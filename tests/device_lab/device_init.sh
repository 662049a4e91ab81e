#!/bin/bash
# Process 1 of a device: when it ends, the kernel kills everything of the device. Ends with 42 for a reboot.
# As Android's own, it starts the daemon again when that dies.
rm -f /run/reboot-request
mkdir -p /data/log
: >/data/log/main
while :; do
    LD_PRELOAD=/opt/properties.so "$@" &
    daemon=$!
    while kill -0 "$daemon" 2>/dev/null; do
        [ ! -f /run/reboot-request ] || exit 42
        sleep 0.1
    done
done
