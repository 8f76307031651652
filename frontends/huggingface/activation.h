/* transformers' names of activations. */
#ifndef VITC_FRONTENDS_HUGGINGFACE_ACTIVATION_H
#define VITC_FRONTENDS_HUGGINGFACE_ACTIVATION_H

#include "builder.h"
#include "import_config.h"

/* hidden_act; absent: gelu. */
MUST_USE enum status activation_read(const struct config *config, enum activation *out_activation);

#endif
