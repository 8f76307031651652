#include "import.h"

#include "import_config.h"

static const struct model_kind kinds[] = {
#define MODEL(name, claims, importer) {name, claims, importer},
#include "models.def"
#undef MODEL
};

enum status import_model(struct import *import) {
  const struct model_kind *kind = kinds;
  while (!kind->claims(import->arch, import->file ? import->weights : NULL)) kind++; /* the last claims everything */
  return kind->import(import);
}

enum status import_weights(struct import *import) {
  if (import->file || import->options->init_random) return STATUS_OK;
  return config_weights(import->source, import->weights, import->arena, &import->file, import->diag);
}
