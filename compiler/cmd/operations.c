#include "cmd/operations.h"

enum status operations_of(const char *file, const struct account *account, const struct target_level *level,
                          struct arena *arena, struct operations *out_operations, struct diag *diag) {
  enum arithmetic *of_phases = arena_array(arena, (size_t)account->phase_count + 1, sizeof *of_phases);
  *out_operations = (struct operations){.as_given = (double)account->flops_as_given, .of_phases = of_phases};
  double *image = out_operations->image, products = 0;
  for (int i = 0; i < account->phase_count; i++) {
    const struct account_phase *phase = &account->phases[i];
    enum precision precision;
    if (!precision_named(phase->precision, &precision))
      return diag_fail(diag, STATUS_INPUT, "%s: its phase '%s' is in an unknown precision '%s'", file, phase->name,
                       phase->precision);
    of_phases[i] = level != NULL ? target_arithmetic(level, precision) : ARITHMETIC_FP32;
    if (of_phases[i] == ARITHMETIC_FP32) continue;
    image[of_phases[i]] += (double)phase->flops;
    products += (double)phase->flops;
  }
  double others = (double)account->flops - products; /* of these the phases have not all: what is fused into products */
  image[ARITHMETIC_FP32] = others > 0 ? others : 0;
  return STATUS_OK;
}

double operations_sum(const double operations[ARITHMETIC_COUNT]) {
  double sum = 0;
  for (int i = 0; i < ARITHMETIC_COUNT; i++) sum += operations[i];
  return sum;
}

double operations_seconds(const double operations[ARITHMETIC_COUNT], const double peaks[ARITHMETIC_COUNT]) {
  double seconds = 0;
  for (int i = 0; i < ARITHMETIC_COUNT; i++) {
    if (operations[i] > 0 && !(peaks[i] > 0)) return 0;
    if (operations[i] > 0) seconds += operations[i] / peaks[i];
  }
  return seconds;
}
