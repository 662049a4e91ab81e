#!/usr/bin/env bash
# What the device lab needs on a Debian machine: its packages, and the kernel's way to start arm64 programs. As root.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

packages=(
  adb mmdebstrap            # adb's own client, and Debian roots with adbd in them
  openssh-client openssh-server
  iproute2                  # hosts of a network of their own
  g++                       # the properties of a device are a small library
)
if [ "$(dpkg --print-architecture)" = amd64 ]; then
  packages+=(g++-aarch64-linux-gnu qemu-user-static binfmt-support)
fi
missing=()
for package in "${packages[@]}"; do
  dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends "${missing[@]}" > /dev/null
fi

register=/proc/sys/fs/binfmt_misc
[ -e $register/register ] || mount -t binfmt_misc binfmt_misc $register
[ -e $register/qemu-aarch64 ] || update-binfmts --enable qemu-aarch64
