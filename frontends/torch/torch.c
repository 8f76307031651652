#include "torch.h"

#include "import.h"
#include "torch/pth.h"

#include <string.h>
#include <sys/stat.h>

bool torch_probe(const char *source, const struct import_options *options) {
  (void)options;
  static const char ending[] = ".safetensors";
  size_t length = source ? strlen(source) : 0;
  struct stat info;
  if (length >= sizeof ending && strcmp(source + length - (sizeof ending - 1), ending) == 0)
    return stat(source, &info) == 0 && !S_ISDIR(info.st_mode);
  return source && pth_probe(source);
}

enum status torch_import(const char *source, const struct import_options *options, struct arena *arena, struct weights *weights,
                         struct graph *out_graph, struct diag *diag) {
  struct import import = {.source = source,
                          .arch = options->arch,
                          .options = options,
                          .arena = arena,
                          .weights = weights,
                          .out_graph = out_graph,
                          .diag = diag};
  TRY(weights_open(source, weights, diag));
  import.file = source;
  return import_model(&import);
}
