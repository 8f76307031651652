#!/usr/bin/env bash
# Fuzzes every reader of files: tests/fuzz/run.sh [seconds for each target] [target...]
# Needs clang with libFuzzer and protoc-c. What was found stays in build-fuzz/found, the corpus in build-fuzz/corpus.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
shift || true
clang=$(command -v clang-19 || command -v clang) || { echo "run.sh: clang is missing" >&2; exit 1; }
build=$PWD/build-fuzz
flags=(-std=gnu11 -D_GNU_SOURCE "-DVITC_SOURCE_DIR=\"$PWD\"" -g -O1 -fno-omit-frame-pointer
       -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -Icompiler -Ifrontends -Iruntime/include "-I$build/generated")
mkdir -p "$build/objects" "$build/found" "$build/generated"
protoc-c --c_out="$build/generated" --proto_path=frontends/onnx frontends/onnx/onnx_subset.proto

object_of() {
  printf '%s' "$build/objects/${1//\//_}.o"
}

# Compiles the sources that changed since the last run, or all of them after a header did.
compile() {
  local source=$1 object
  object=$(object_of "$source")
  if [ -e "$object" ] && [ -z "$(find "$source" compiler frontends tests/fuzz \( -path "$source" -o -name '*.h' -o -name '*.def' \) \
                                   -newer "$object" -print -quit)" ]; then
    return
  fi
  "$clang" "${flags[@]}" -c "$source" -o "$object"
}

seed() {
  case $1 in
    json) cp tests/reject/*.json tests/golden/*.json "$2" ;;
    safetensors) cp tests/reject/*.safetensors tests/golden/*.safetensors "$2" ;;
    npy) cp tests/golden/*.npy "$2" ;;
    pth) cp tests/golden/*.pth "$2" ;;
    onnx) cp tests/golden/*.onnx "$2" ;;
  esac
}

sources=(compiler/base/*.c compiler/ir/*.c compiler/ops/*.c frontends/*.c frontends/*/*.c tests/fuzz/*.c
         "$build/generated/onnx_subset.pb-c.c")
objects=()
for source in "${sources[@]}"; do
  compile "$source"
  case $source in tests/fuzz/fuzz_*) ;; *) objects+=("$(object_of "$source")") ;; esac
done
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(json safetensors npy pth onnx)
passed=0
failed=0
for target in "${targets[@]}"; do
  "$clang" -fsanitize=fuzzer,address,undefined "$build/objects/tests_fuzz_fuzz_$target.c.o" "${objects[@]}" -lcjson -lprotobuf-c -lm \
    -o "$build/fuzz_$target"
  mkdir -p "$build/corpus/$target"
  seed "$target" "$build/corpus/$target"
  dictionary=()
  case $target in
    json | safetensors) dictionary=(-dict=tests/fuzz/json.dict) ;;
    *) if [ -e "tests/fuzz/$target.dict" ]; then dictionary=("-dict=tests/fuzz/$target.dict"); fi ;;
  esac
  echo "$target: $seconds seconds"
  if "$build/fuzz_$target" "${dictionary[@]}" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=2048 -malloc_limit_mb=1024 \
      -max_len=8192 -print_final_stats=1 -artifact_prefix="$build/found/$target-" "$build/corpus/$target" \
      >"$build/fuzz_$target.log" 2>&1; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
  fi
  grep -a -E 'ERROR|SUMMARY|runtime error|number_of_executed_units|Test unit' "$build/fuzz_$target.log" || true
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
