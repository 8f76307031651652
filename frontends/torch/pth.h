/* PyTorch checkpoints (.pth, .pt, .bin) read as data: the zip form of torch.save and the legacy form before it. Nothing of a
 * file is ever executed: the pickle is run by torch/pickle.h, whose allowlist is torch/globals.def.
 *
 * Which tensors: of the dict at the root, as long as it has one of the keys "state_dict", "model", "model_state_dict" or
 * "module" (asked in this order) and the value is a dict, that one. If the dict so found has no tensor, but exactly one of its
 * values is a dict that has some, that one; if several are, it is an error that names them. What in the dict is no tensor is
 * passed over. "module." (DataParallel) and "_orig_mod." (torch.compile) are taken off the names when every tensor's name
 * begins so.
 *
 * Tensors: of every storage whose entry has exactly the bytes that its dtype and count ask for. Contiguous views are borrowed
 * from the mapped file, shared storages stay shared; other strides are gathered into the weights' arena, int16 is widened to
 * int32, both together at most PTH_COPY_SLACK more than the file's size. Elements past the storage are an error.
 *
 * Not read: big-endian files, TorchScript archives, whole modules (torch.save(model)), the tar form before PyTorch 0.2. */
#ifndef VITC_FRONTENDS_TORCH_PTH_H
#define VITC_FRONTENDS_TORCH_PTH_H

#include "weights.h"

#define PTH_COPY_SLACK ((size_t)16 << 20)

/* Whether `path` is for pth_read: by its first bytes, or, when they are of no known form, by the ending of its name, so that a
 * broken file gets the right message. Never an error. */
bool pth_probe(const char *path);

/* Maps `path` and adds its tensors to initialised weights, without weights_index. */
MUST_USE enum status pth_read(const char *path, struct weights *weights, struct diag *diag);

#endif
