/* A model's operations by what they are executed in at a CPU level, and the time that they would take at the machine's peaks.
 *
 * Products are executed in what target_arithmetic says of their operands, everything else in fp32. */
#ifndef VITC_CMD_OPERATIONS_H
#define VITC_CMD_OPERATIONS_H

#include "json/account.h"
#include "target/target.h"

struct operations {
  double image[ARITHMETIC_COUNT];   /* of one image: all of account->flops */
  double as_given;                  /* of one image of the model as given, in whatever it would be */
  const enum arithmetic *of_phases; /* [account->phase_count], of what account_phase.flops counts; in the arena */
};

/* `level` NULL: none that this CPU runs, so that nothing is known but fp32. `file` names the object. */
MUST_USE enum status operations_of(const char *file, const struct account *account, const struct target_level *level,
                                   struct arena *arena, struct operations *out_operations, struct diag *diag);

double operations_sum(const double operations[ARITHMETIC_COUNT]);

/* Seconds that the operations take at these peaks, one after the other; 0 when the peak of any of them is not known (0). */
double operations_seconds(const double operations[ARITHMETIC_COUNT], const double peaks[ARITHMETIC_COUNT]);

#endif
