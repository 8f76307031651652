/* What the layers of one kind have in common: "blocks.3.mlp.fc1" as "blocks.*.mlp.fc1". */
#ifndef VITC_CMD_LAYERS_H
#define VITC_CMD_LAYERS_H

#include "base/arena.h"

/* Numbers between dots or slashes become "*"; in the arena. */
const char *layer_kind(const char *name, struct arena *arena);

#endif
