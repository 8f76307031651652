/* Repetitions in a sequence: layers that are built alike, one after the other. */
#ifndef VITC_CMD_FOLD_H
#define VITC_CMD_FOLD_H

#include "base/arena.h"

/* Items [first, first + period) are repeated `times` times; 1: no repetition. */
struct fold {
  int first, period, times;
};

/* Covers all `count` keys with folds, in order, preferring what covers most. Keys are compared as text. */
struct fold *find_folds(const char *const *keys, int count, struct arena *arena, int *out_count);

#endif
