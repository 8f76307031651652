#!/usr/bin/env bash
# The kernels of all levels above AVX2 on the models of their instructions (tests/support/vector_model.h, amx_model.h), as on a CPU
# that lacks them: what there replaces the processor is tested on every machine.
. "$(dirname "$0")/checks.sh"

modelled() {
  VITC_MODEL_LEVELS=1 timeout 600 "$build/test_kernels_$1" "${@:2}" >"$scratch/log" 2>&1
}

for kernels in math rows quantize gemm attention_bf16 amx; do
  check "$kernels" modelled "$kernels"
  check "$kernels: by the models" grep -q 'by the model' "$scratch/log"
done
check "int8" modelled int8 --filter '*/odd_shapes'
check "int8: AVX-VNNI's by the model" grep -q '^avxvnni: not on this CPU' "$scratch/log"
finish
