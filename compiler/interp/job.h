/* One node over the images of a batch, shared among threads. */
#ifndef VITC_INTERP_JOB_H
#define VITC_INTERP_JOB_H

#include "ir/ops.h"

struct job_operand {
  void *data;         /* of the first image; NULL when the operand is omitted */
  size_t image_bytes; /* 0: the same for all images */
};

struct job {
  const struct node *node; /* plain */
  int64_t images;          /* 1 when the result is the same for all */
  struct job_operand *inputs, *outputs;
};

void job_run(const struct job *job, int threads);

#endif
