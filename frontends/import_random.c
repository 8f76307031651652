#include "import.h"

#include <math.h>

/* splitmix64: a counter goes in, 64 well mixed bits come out, so that every element has its own place in the sequence. */
static uint64_t mix(uint64_t x) {
  x += UINT64_C(0x9E3779B97F4A7C15);
  x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
  return x ^ (x >> 31);
}

/* FNV-1a, so that a tensor's values do not depend on which other tensors the model has. */
static uint64_t stream(uint64_t seed, const char *key) {
  uint64_t hash = UINT64_C(0xCBF29CE484222325);
  for (const char *c = key; *c; c++) hash = (hash ^ (uint8_t)*c) * UINT64_C(0x100000001B3);
  return mix(hash ^ mix(seed));
}

/* The sum of four 16-bit uniforms, centred: close to a normal of deviation 2^16 / sqrt(3), an exact integer, within 3.5
 * deviations. */
static int32_t centred_sum(uint64_t bits) {
  return (int32_t)((bits & 0xFFFF) + ((bits >> 16) & 0xFFFF) + ((bits >> 32) & 0xFFFF) + (bits >> 48)) - 2 * 0xFFFF;
}

/* Scales keep activations of order one through any depth, so that an error anywhere shows in the output: with weights of
 * deviation 0.02 and zero biases, as for training, half of the model would hardly matter. */
void random_tensor(float *out, int64_t count, uint64_t seed, const char *key, enum tensor_role role, int64_t fan_in) {
  static const struct {
    double mean, deviation;
  } roles[] = {[ROLE_WEIGHT] = {0, 1},
               [ROLE_BIAS] = {0, 0.2},
               [ROLE_GAIN] = {1, 0.2},
               [ROLE_TABLE] = {0, 0.5},
               [ROLE_LAYER_SCALE] = {0.5, 0.1}};
  double deviation = roles[role].deviation;
  if (role == ROLE_WEIGHT) deviation /= sqrt((double)fan_in);
  double scale = deviation * sqrt(3.0) / 65536.0;
  uint64_t start = stream(seed, key);
  for (int64_t i = 0; i < count; i++)
    out[i] = (float)(roles[role].mean + scale * (double)centred_sum(mix(start + (uint64_t)i)));
}

bool random_probe(const char *source, const struct import_options *options) {
  (void)source;
  return options->init_random;
}

enum status random_import(const char *source, const struct import_options *options, struct arena *arena,
                          struct weights *weights, struct graph *out_graph, struct diag *diag) {
  struct import import = {
      .arch = options->arch, .options = options, .arena = arena, .weights = weights, .out_graph = out_graph, .diag = diag};
  if (source)
    return diag_fail(diag, STATUS_USAGE, "--init random draws all weights: it takes --arch and no source (%s)", source);
  if (!options->arch) return diag_fail(diag, STATUS_USAGE, "--init random needs --arch");
  return import_model(&import);
}
