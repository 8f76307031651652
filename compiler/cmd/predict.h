/* How predictions are written: text, JSON or CSV on stdout. */
#ifndef VITC_CMD_PREDICT_H
#define VITC_CMD_PREDICT_H

#include <stdint.h>

enum predict_format { PREDICT_TEXT, PREDICT_JSON, PREDICT_CSV };

struct prediction {
  const char *path;
  uint32_t count;             /* classes, most probable first */
  const uint32_t *classes;    /* their numbers */
  const float *probabilities; /* by class number */
  const char *const *labels;  /* by class number; NULL: none */
};

void predict_begin(enum predict_format format);
void predict_print(enum predict_format format, const struct prediction *prediction);
void predict_end(enum predict_format format);

#endif
