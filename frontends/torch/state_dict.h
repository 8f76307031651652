/* From the objects of a checkpoint to weights: see torch/pth.h for the rules. */
#ifndef VITC_FRONTENDS_TORCH_STATE_DICT_H
#define VITC_FRONTENDS_TORCH_STATE_DICT_H

#include "torch/pickle.h"
#include "weights.h"

/* Adds the tensors of the state dict in `root`, whose storages have their data. Copies take at most `copy_bytes`. */
MUST_USE enum status state_dict_add(struct unpickler *unpickler, const struct object *root, size_t copy_bytes,
                                    struct weights *weights);

#endif
