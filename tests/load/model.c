/* A model by hand, in the shape of what the compiler emits, for the tests of the loader. y = 2 * x + weights[0] on one float.
 */
#include "vitc/model.h"

#ifndef WEIGHT_COUNT
#define WEIGHT_COUNT 1024
#endif
#ifndef WEIGHTS_HASH
#define WEIGHTS_HASH 0
#endif

int tiny_describe(vitc_model *out, uint32_t abi_version);
int tiny_run(const vitc_args *args);
int tiny_run_slow(const vitc_args *args);
float tiny_scale(float x);

extern const float tiny_weights[WEIGHT_COUNT];
const float tiny_weights[WEIGHT_COUNT] = {0.5f, 1, 2, 3};

static const char *const names[] = {"tiny", "x", "y", "fp32"};

#ifdef MISSING
int missing(void);
#endif
#ifdef WRITABLE
int tiny_calls = 1;
#endif

/* Called through the procedure linkage table or the global offset table. */
float tiny_scale(float x) {
  return 2 * x;
}

int tiny_run(const vitc_args *args) {
#ifdef MISSING
  if (missing() != 0) return VITC_E_CPU;
#endif
  const float *x = args->inputs[0];
  float *y = args->outputs[0];
  for (uint32_t i = 0; i < args->batch; i++) y[i] = tiny_scale(x[i]) + tiny_weights[0];
  return VITC_OK;
}

int tiny_run_slow(const vitc_args *args) {
  int error = tiny_run(args);
  ((float *)args->outputs[0])[0] += 100;
  return error;
}

#ifndef ANONYMOUS
int tiny_describe(vitc_model *out, uint32_t abi_version) {
  if (abi_version != VITC_ABI_VERSION) return VITC_E_ABI;
  static const vitc_model model = {
      .abi_version = VITC_ABI_VERSION,
      .batch_max = 4,
      .input_count = 1,
      .output_count = 1,
      .weights_bytes = sizeof tiny_weights,
      .weights_hash = WEIGHTS_HASH,
      .name = "tiny",
      .precision = "fp32",
      .inputs = {{"x", VITC_F32, 1, {1}, sizeof(float)}},
      .outputs = {{"y", VITC_F32, 1, {1}, sizeof(float)}},
      .run = tiny_run,
  };
  /* Copied by hand: a self-contained object has no memcpy to call. */
  volatile unsigned char *to = (volatile unsigned char *)out;
  const unsigned char *from = (const unsigned char *)&model;
  for (size_t i = 0; i < sizeof model; i++) to[i] = from[i];
#ifdef BAD_RANK
  out->inputs[0].rank = 9;
#endif
  out->name = names[0];
  return VITC_OK;
}
#endif
