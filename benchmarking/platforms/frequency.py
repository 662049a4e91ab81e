"""Shell scripts for a Linux kernel that set the frequency of all cores and restore it. Pure.

The previous settings are kept in a separate file, so that if a harness is killed, the next one can restore
them.
"""

from __future__ import annotations

from shlex import quote

_DIRECTORIES = "/sys/devices/system/cpu/cpu[0-9]*/cpufreq"


def record(directory: str) -> str:
    return f"{directory}/frequency_before"


def restore_script(directory: str) -> str:
    """Restores twice, because the lower limit may never exceed the upper limit, and the order of the settings
    is unknown.
    """
    path = quote(record(directory))
    return (
        f"[ -s {path} ] || exit 0\n"
        "for round in 1 2; do\n"
        f'    while read -r file value; do echo "$value" > "$file"; done < {path} 2>/dev/null\n'
        "done\n"
        f"rm -f {path}"
    )


def set_script(directory: str, frequency: str) -> str:
    """``frequency``: kilohertz, or ``min`` or ``max`` of each core. The script fails if the setting is
    refused.
    """
    path = quote(record(directory))
    wanted = f'$(cat "$core/cpuinfo_{frequency}_freq")' if frequency in ("min", "max") else frequency
    return f"""
ls -d {_DIRECTORIES} >/dev/null 2>&1 ||
    {{ echo "this kernel does not allow setting the CPU's frequency" >&2; exit 1; }}
mkdir -p {quote(directory)}
for core in {_DIRECTORIES}; do
    for name in scaling_min_freq scaling_max_freq; do echo "$core/$name $(cat "$core/$name")"; done
done > {path}.new && mv {path}.new {path} || exit 1
for core in {_DIRECTORIES}; do
    wanted={wanted}
    for name in scaling_max_freq scaling_min_freq scaling_max_freq; do
        {{ echo "$wanted" > "$core/$name"; }} 2>/dev/null
    done
    is="$(cat "$core/scaling_min_freq") $(cat "$core/scaling_max_freq")"
    if [ "$is" != "$wanted $wanted" ]; then
        echo "the frequency cannot be set to $wanted kHz: its limits are $is; it takes root," \\
            "and a value that the processor has" >&2
        exit 1
    fi
done
"""
