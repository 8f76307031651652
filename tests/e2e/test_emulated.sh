#!/usr/bin/env bash
# CPUs that this machine is not, by qemu: what an object chooses there, and that it never runs an instruction that is missing.
# qemu has no AVX-512 and no VNNI: where the machine has none either, test_modelled.sh and the kernels' own tests run that code.
. "$(dirname "$0")/checks.sh"

require "import" "$vitc" import examples/digits/model -o "$scratch/digits.json"
require "compile" "$vitc" compile "$scratch/digits.json" -o "$scratch/digits.o" --header "$scratch/digits.h"
require "link" cc -std=c11 -O1 -Wall -Wextra -Werror -static -include "$scratch/digits.h" tests/e2e/emulated.c "$scratch/digits.o" \
  -o "$scratch/emulated"

on() {
  timeout 120 qemu-x86_64 -cpu "$1" "$scratch/emulated" 2>"$scratch/qemu"
}

# Fused multiply-adds are exact in the emulator too: the same code gives the same bits.
if grep -q -w avx2 /proc/cpuinfo; then
  here=$("$scratch/emulated" avx2)
  check "AVX2 code runs here" grep -q '^0 ' <<<"$here"
  for cpu in Haswell Skylake-Client EPYC; do
    check "$cpu: the AVX2 code, with this machine's bits" [ "$(on $cpu)" = "$here" ]
  done
else
  for cpu in Haswell Skylake-Client EPYC; do
    check "$cpu: runs" grep -q '^0 ' <<<"$(on $cpu)"
  done
fi
# VITC_E_CPU is 4
for cpu in qemu64 Nehalem SandyBridge; do
  check "$cpu has no level: an error code" [ "$(on $cpu)" = 4 ]
done
finish
