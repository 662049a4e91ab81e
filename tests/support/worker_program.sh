#!/bin/sh
# A benchmark program with the worker protocol for devices without Python; NET_US, which tests put in front, is its time.
# What came is answered with made-up times that scatter a little, by a counter.
case " $* " in
    *" --worker true "*) ;;
    *) echo "only --worker true is known here" >&2; exit 2 ;;
esac
echo "{\"protocol\": 1, \"ready\": true, \"pid\": $$, \"rss_bytes\": 1000000, \"facts\": {\"threads\": 1}}"
count=$$
while read -r line; do
    count=$(( (count * 1103 + 12345) % 65536 ))
    ns=$(( NET_US * 1000 + NET_US * count / 4096 ))
    case $line in
        run) echo "{\"wall_ns\": $ns, \"cpu_ns\": $ns, \"run_delay_ns\": 0, \"involuntary_switches\": 0}" ;;
        quit) exit 0 ;;
        *) echo "{\"error\": \"unknown line\"}" ;;
    esac
done
