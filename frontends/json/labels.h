/* Class labels from a file of their own: one a line, or JSON. */
#ifndef VITC_FRONTENDS_JSON_LABELS_H
#define VITC_FRONTENDS_JSON_LABELS_H

#include "base/arena.h"
#include "base/diag.h"

/* Text: one label a line. JSON: a list of labels, or an object from class numbers, 0 to count - 1, to labels; a label is a
 * string, or a list whose last member is one (ImageNet's class index). */
MUST_USE enum status labels_read(const char *path, struct arena *arena, const char ***out_labels, int *out_count,
                                 struct diag *diag);

#endif
