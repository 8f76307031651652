/* vitc/host.h: what a host needs around a model: external weights, the CPU, and what follows the logits. */
#ifndef VITC_HOST_H
#define VITC_HOST_H

#include "vitc/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Number of CPUs that this process may run on (at least 1). */
uint32_t vitc_cpu_count(void);

/* Asks the kernel for the AMX tile registers, for the whole process. 1: granted, 0: no AMX on this machine. A model that was
 * compiled with AMX paths uses them only after this. */
int vitc_cpu_request_amx(void);

/* 64-byte aligned memory for an arena, on huge pages where the system has them. NULL: out of memory. */
void *vitc_arena_alloc(size_t bytes);
void vitc_arena_free(void *arena, size_t bytes);

/* Maps the weights file of a model with external weights, read-only and shared. 0, or -1 with errno set; EINVAL when size or
 * hash are not the model's (the hash is read only with check_hash). */
int vitc_weights_map(const vitc_model *model, const char *path, int check_hash, const void **out_weights);
void vitc_weights_unmap(const vitc_model *model, const void *weights);

/* probabilities[i] = e^(logits[i] - max) / sum; in place allowed. Computed in double, rounded once. */
void vitc_softmax(const float *logits, size_t count, float *probabilities);

/* Indices of the k largest, largest first; equal values in order of index. NaN counts as smallest. k at most count. */
void vitc_top_k(const float *values, size_t count, size_t k, uint32_t *out_indices);

/* The label of class `index`, or NULL. */
const char *vitc_label(const vitc_model *model, uint32_t index);

#ifdef __cplusplus
}
#endif
#endif
