#!/usr/bin/env bash
# The object and its header: self-contained, named after the model, constant, deterministic, no larger than it must be.
. "$(dirname "$0")/checks.sh"
cd "$scratch" || exit 1

require "import digits" "$vitc" import "$root/examples/digits/model" -o digits.json

# inspect_object NAME OBJECT HEADER BLOB
inspect_object() {
  local name=$1 object=$2 header=$3 blob=$4
  check "$object: no undefined symbol" test -z "$(nm -u "$object")"
  check "$object: exports its run and describe functions" test "$(nm -g --defined-only "$object" | grep -c -E " [TR] ${name}_(run|describe)$")" = 2
  check "$object: every symbol begins with $name" test -z "$(nm "$object" | awk '{ print $NF }' | grep -v "^$name")"
  # What the loader would have to write to, or to call before main: no such section may hold anything.
  check "$object: nothing writable, no constructors" test -z "$(objdump -h "$object" | awk '
    /^ *[0-9]+ / { name = $2; size = $3; getline flags
      if (size !~ /^0+$/ && flags ~ /ALLOC/ && flags !~ /READONLY/ && name !~ /^\.data\.rel\.ro/) print name
      if (size !~ /^0+$/ && name ~ /^\.(init|fini|ctors|dtors|bss|tbss|tdata)/) print name }')"
  check "$object: at most weights + 1 MB" test "$(stat -c %s "$object")" -le $(($(stat -c %s "$blob") + 1000000))
  for compiler in "${CC:-cc} -std=c11 -xc" "${CXX:-c++} -std=c++11 -xc++"; do
    # shellcheck disable=SC2086
    check "$header alone: $compiler" $compiler -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -fsyntax-only -include "$header" /dev/null
    # shellcheck disable=SC2086
    check "$header twice, and with the runtime's: $compiler" $compiler -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -fsyntax-only \
      -I"$root/runtime/include" -include "$header" -include vitc/image.h -include "$header" -include vitc/host.h /dev/null
  done
  check "$header needs only stddef and stdint" test -z "$(grep -E '^ *# *include' "$header" | grep -v -E '<(stddef|stdint)\.h>')"
}

one_cpu=$(taskset -c -p $$ | sed 's/.*: *\([0-9]*\).*/\1/')
compile_twice() {
  local object=$1 header=$2
  shift 2
  expect 0 "compile $object $*" "$vitc" compile digits.json -o "$object" --header "$header" "$@"
  mkdir -p again
  expect 0 "compile $object $* again" "$vitc" compile digits.json -o "again/$object" --header "again/$header" "$@"
  check "$object: the same bytes" cmp "$object" "again/$object"
  check "$header: the same bytes" cmp "$header" "again/$header"
  expect 0 "compile $object $* on one CPU" taskset -c "$one_cpu" "$vitc" compile digits.json -o "again/$object" --header "again/$header" "$@"
  check "$object: the same bytes on one CPU" cmp "$object" "again/$object"
}

compile_twice digits.o digits.h
inspect_object digits digits.o digits.h digits.safetensors
compile_twice portable.o portable.h --target x86-64 --batch 3
inspect_object digits portable.o portable.h digits.safetensors
compile_twice small.o small.h --precision int8
inspect_object digits small.o small.h digits.safetensors
compile_twice camera.o camera.h --input u8
inspect_object digits camera.o camera.h digits.safetensors
check "camera.h takes 8-bit pixels" grep -q 'digits_run(const uint8_t \*' camera.h
compile_twice external.o external.h --weights external
inspect_object digits external.o external.h /dev/null
check "external.h takes the weights" grep -q 'const void \*weights' external.h

cat >errors.c <<'EOT'
/* Every bad argument is an error code, and leaves the output alone. Exit status 0: all as documented. */
#include <string.h>
static float input[DIGITS_BATCH_MAX * DIGITS_INPUT_ELEMENTS + 1], output[DIGITS_BATCH_MAX * DIGITS_OUTPUT_ELEMENTS + 1];
static _Alignas(64) unsigned char arena[DIGITS_ARENA_BYTES + 64];
static void serial(void *pool, uint32_t count, vitc_task task, void *context) {
  (void)pool;
  for (uint32_t i = 0; i < count; i++) task(context, i);
}
int main(void) {
  vitc_model model;
  vitc_parallel none = {serial, 0, 0}, many = {serial, 0, VITC_THREADS_MAX + 1}, most = {serial, 0, VITC_THREADS_MAX};
  float before[DIGITS_OUTPUT_ELEMENTS], first[DIGITS_OUTPUT_ELEMENTS];
  memset(output, 0x5a, sizeof output);
  memcpy(before, output, sizeof before);
  if (digits_run(0, output, 1, arena, 0) != VITC_E_NULL) return 1;
  if (digits_run(input, 0, 1, arena, 0) != VITC_E_NULL) return 2;
  if (digits_run(input, output, 1, 0, 0) != VITC_E_NULL) return 3;
  if (digits_run(input, output, 0, arena, 0) != VITC_E_BATCH) return 4;
  if (digits_run(input, output, DIGITS_BATCH_MAX + 1, arena, 0) != VITC_E_BATCH) return 5;
  if (digits_run(input, output, UINT32_MAX, arena, 0) != VITC_E_BATCH) return 6;
  if (digits_run(input, output, 1, arena + 32, 0) != VITC_E_ALIGN) return 7;
  if (digits_run((float *)((char *)input + 1), output, 1, arena, 0) != VITC_E_ALIGN) return 8;
  if (digits_run(input, (float *)((char *)output + 2), 1, arena, 0) != VITC_E_ALIGN) return 9;
  if (digits_run(input, output, 1, arena, &none) != VITC_E_THREADS) return 10;
  if (digits_run(input, output, 1, arena, &many) != VITC_E_THREADS) return 11;
  if (digits_describe(&model, VITC_ABI_VERSION + 1) != VITC_E_ABI) return 12;
  if (digits_describe(0, VITC_ABI_VERSION) != VITC_E_NULL) return 13;
  if (memcmp(before, output, sizeof before) != 0) return 14;
  if (digits_run(input, output, 1, arena, 0) != VITC_OK) return 15;
  memcpy(first, output, sizeof first);
  if (digits_run(input, output, 1, arena, &most) != VITC_OK) return 16;
  if (memcmp(first, output, sizeof first) != 0) return 17;
  if (digits_describe(&model, VITC_ABI_VERSION) != VITC_OK) return 18;
  if (strcmp(model.name, "digits") || model.label_count != 10 || strcmp(model.labels, "zero")) return 19;
  if (model.arena_bytes != DIGITS_ARENA_BYTES || model.batch_max != DIGITS_BATCH_MAX) return 20;
  if (model.outputs[0].image_bytes != DIGITS_OUTPUT_ELEMENTS * sizeof(float)) return 21;
  if (model.inputs[0].image_bytes != DIGITS_INPUT_ELEMENTS * sizeof(float)) return 22;
  /* Past the end of what one image needs, nothing was written. */
  for (size_t i = DIGITS_OUTPUT_ELEMENTS; i < sizeof output / sizeof *output; i++) {
    if (memcmp(&output[i], before, sizeof(float)) != 0) return 23;
  }
  for (size_t i = DIGITS_ARENA_BYTES; i < sizeof arena; i++) {
    if (arena[i] != 0) return 24;
  }
  return 0;
}
EOT
for header in digits.h portable.h; do
  check "a program with $header alone, warnings are errors" "${CC:-cc}" -std=c11 -Wall -Wextra -Wpedantic -Werror -include "$header" errors.c "${header%.h}.o" -o errors
  expect 0 "errors are codes: ${header%.h}.o" ./errors
done
finish
