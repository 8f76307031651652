/* What the parts of the JSON reader share. A reader goes over one cJSON tree, which outlives it; every name that the graph
 * keeps is copied into the graph's arena. */
#ifndef VITC_FRONTENDS_JSON_READER_H
#define VITC_FRONTENDS_JSON_READER_H

#include "json/text.h"
#include "frontend.h"

struct reader {
  const char *file;
  const char *blob; /* path of the weights, or NULL */
  struct graph *graph;
  struct weights *weights;
  struct diag *diag;
  const cJSON *nodes;
  const char *label; /* of the node at hand: nodes[17] (MatMul -> "h3") */
};

#define reject(reader, format, ...) \
  diag_fail((reader)->diag, STATUS_INPUT, "%s: " format, (reader)->file __VA_OPT__(, ) __VA_ARGS__)
#define reject_node(reader, format, ...) reject(reader, "%s: " format, (reader)->label __VA_OPT__(, ) __VA_ARGS__)

/* `; did you mean "x"?`, or "" for NULL. */
const char *reader_hint(const struct reader *reader, const char *nearest);

/* The value whose name is nearest to `name`, or NULL. */
const char *reader_nearest_value(const struct reader *reader, const char *name);

/* Every key is one of the list (NULL at its end) or begins with "_" or "x-". `where` ends in ": ", or is "". */
MUST_USE enum status reader_check_keys(const struct reader *reader, const cJSON *object, const char *where,
                                       const char *const *keys);

/* The name of a new value: a string, not empty, that nothing else has. `where` as above. */
MUST_USE enum status reader_new_name(const struct reader *reader, const cJSON *item, const char *where, const char **out_name);

/* Adds all nodes to the graph and infers their shapes. */
MUST_USE enum status reader_nodes(struct reader *reader);

/* The object at "attrs" (NULL: none) into the node, by the op's table. */
MUST_USE enum status reader_attrs(const struct reader *reader, struct node *node, const cJSON *attrs);

/* A Constant node as a constant of the graph. */
MUST_USE enum status reader_constant(const struct reader *reader, const char *name, const cJSON *attrs);

MUST_USE enum status reader_preprocess(const struct reader *reader, const cJSON *object);
MUST_USE enum status reader_labels(const struct reader *reader, const cJSON *array);

#endif
