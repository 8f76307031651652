/* What goes into a model and what comes out, as batches in host memory, for graphs and objects alike: both are described by a
 * vitc_model.
 *
 * Ownership: feeds and results own their buffers; feed_free and results_free accept zeroed structs. */
#ifndef VITC_CMD_FEED_H
#define VITC_CMD_FEED_H

#include "cmd/command.h"
#include "ir/graph.h"
#include "vitc/model.h"

struct feed {
  uint32_t batch;
  void *inputs[VITC_IO_MAX]; /* (batch, ...), row-major */
};

struct results {
  uint32_t batch;
  float *outputs[VITC_IO_MAX];
};

/* Names, shapes and preprocessing of a graph; .run, .info and the weights stay empty. Tensors of other types than float32 and
 * uint8 are an error. */
MUST_USE enum status describe_graph(const struct graph *graph, const char *path, vitc_model *out_model, struct diag *diag);

/* One .npy file per input, in the model's order. `file` names the model in messages. */
MUST_USE enum status feed_npy(const vitc_model *model, const char *file, const struct word_list *paths, struct feed *out_feed,
                              struct diag *diag);
MUST_USE enum status feed_images(const vitc_model *model, const char *file, const struct word_list *paths,
                                 struct feed *out_feed, struct diag *diag);
/* float32: normal deviates; uint8: uniform. Equal seeds give equal pixels on every machine with the same libm. */
MUST_USE enum status feed_random(const vitc_model *model, uint32_t batch, uint64_t seed, struct feed *out_feed,
                                 struct diag *diag);
void feed_free(struct feed *feed);

/* Whether the model takes one image as the runtime prepares it. */
MUST_USE enum status check_image_input(const vitc_model *model, const char *file, struct diag *diag);

/* Decodes and preprocesses one file into `out_input`. */
MUST_USE enum status load_image_input(const vitc_model *model, const char *path, void *out_input, struct diag *diag);

MUST_USE enum status results_alloc(const vitc_model *model, const char *file, uint32_t batch, struct results *out_results,
                                   struct diag *diag);
void results_free(struct results *results);

/* path.npy, or path.NAME.npy for each of several outputs. */
MUST_USE enum status results_write(const vitc_model *model, const struct results *results, const char *path, struct diag *diag);
void results_print(const vitc_model *model, const struct results *results);

size_t tensor_elements(const vitc_tensor *tensor); /* of one image */

/* The model's shape as text, "(N, 3, 224, 224)"; batched by its first axis. */
void tensor_shape_text(const vitc_tensor *tensor, char *text, size_t size);

#endif
