/* preprocessor_config.json: how transformers' Pillow-backed image processors of ViT and DeiT prepare a picture. */
#ifndef VITC_FRONTENDS_HUGGINGFACE_PROCESSOR_H
#define VITC_FRONTENDS_HUGGINGFACE_PROCESSOR_H

#include "import_config.h"

/* Into vit->preprocess. A folder without the file leaves it unknown. */
MUST_USE enum status processor_read(const char *folder, struct vit_config *vit, struct arena *arena, struct diag *diag);

#endif
