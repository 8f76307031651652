/* config.json of transformers' DPT and Depth Anything, checked as far as it can be without the tensors. */
#ifndef VITC_FRONTENDS_DPT_CONFIG_H
#define VITC_FRONTENDS_DPT_CONFIG_H

#include "dpt/dpt.h"
#include "import_config.h"

/* Sets all but vit.family, which is for &config->family once the config lies where it stays. */
MUST_USE enum status dpt_read(const struct config *config, struct dpt_config *out_dpt);
MUST_USE enum status dpt_read_anything(const struct config *config, struct dpt_config *out_dpt);

#endif
