#!/bin/sh
# A benchmark program for devices without Python. What it shall do besides measuring stands in BEHAVIOUR, which
# tests put in front: words like sleep=3, big_output=1000, log.
folder= output= iterations=1 big=
while [ $# -gt 1 ]; do
    case $1 in
        --iter) iterations=$2 ;;
        --output_folder) folder=$2 ;;
        --output) output=$2 ;;
    esac
    shift 2
done
say() {
    case " $BEHAVIOUR " in
        *" log "*) log -t Caffe2 "$*" ;;
        *) echo "$*" >&2 ;;
    esac
}
for word in $BEHAVIOUR; do
    case $word in
        sleep=*) sleep "${word#*=}" ;;
        big_output=*) big=${word#*=} ;;
        fill) head -c 100000000 /dev/zero > filler || exit 3 ;;
        exit=*) echo "no luck" >&2; exit "${word#*=}" ;;
    esac
done
count=0
while [ $count -lt "$iterations" ]; do
    say "Caffe2Observer Delay Start"
    say "Caffe2Observer NET_DELAY - 12$count.5 (us)"
    say "Caffe2Observer Delay End"
    count=$((count + 1))
done
if [ -n "$folder" ]; then
    [ -z "$big" ] || head -c "$big" /dev/zero > "$folder/big"
    printf '1 2\n' > "$folder/$output.txt"
fi
