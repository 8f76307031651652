#include "cmd/fold.h"

#include <stdbool.h>
#include <string.h>

enum { PERIOD_MAX = 64 };

static int times_repeated(const char *const *keys, int count, int first, int period) {
  int same = 0; /* keys that equal the one a period before */
  for (int i = first + period; i < count && strcmp(keys[i], keys[i - period]) == 0; i++) same++;
  return 1 + same / period;
}

/* The repetition that begins at `first` and covers most; of those the one with the shortest period. */
static struct fold longest(const char *const *keys, int count, int first) {
  struct fold best = {first, 1, 1};
  for (int period = 1; period <= PERIOD_MAX && first + 2 * period <= count; period++) {
    int times = times_repeated(keys, count, first, period);
    if (times > 1 && times * period > best.times * best.period) best = (struct fold){first, period, times};
  }
  return best;
}

struct fold *find_folds(const char *const *keys, int count, struct arena *arena, int *out_count) {
  struct fold *folds = arena_array(arena, (size_t)count + 1, sizeof *folds);
  *out_count = 0;
  for (int first = 0; first < count;) {
    struct fold fold = longest(keys, count, first);
    folds[(*out_count)++] = fold;
    first += fold.period * fold.times;
  }
  return folds;
}
