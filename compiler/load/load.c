#include "load/load.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char describe_suffix[] = "_describe", profiled[] = "profiled";

enum status load_kind(const char *path, enum load_kind *out_kind, struct diag *diag) {
  struct span file;
  TRY(span_map_file(path, &file, diag));
  size_t i = 0;
  while (i < file.size && strchr(" \t\r\n", file.data[i]) != NULL && file.data[i] != '\0') i++;
  bool graph = i < file.size && file.data[i] == '{';
  bool object = file.size >= 4 && memcmp(file.data, "\177ELF", 4) == 0;
  span_unmap(&file);
  if (!graph && !object)
    return diag_fail(diag, STATUS_INPUT, "%s: is neither a model's graph (JSON) nor a compiled object", path);
  *out_kind = graph ? LOAD_GRAPH : LOAD_OBJECT;
  return STATUS_OK;
}

static bool in_code(const struct elf_object *object, const struct elf_symbol *symbol) {
  if (symbol->section == ELF_ABSOLUTE) return false;
  const struct elf_section *section = &object->sections[symbol->section];
  return elf_executable(section) && section->address != NULL && symbol->value < section->size;
}

static bool ends_with(const char *text, const char *suffix) {
  size_t length = strlen(text), tail = strlen(suffix);
  return length > tail && strcmp(text + length - tail, suffix) == 0;
}

static enum status find_describe(const struct elf_object *object, const struct elf_symbol **out_symbol, struct diag *diag) {
  const struct elf_symbol *found = NULL;
  for (uint32_t i = 1; i < object->symbol_count; i++) {
    const struct elf_symbol *symbol = &object->symbols[i];
    if (!symbol->global || !ends_with(symbol->name, describe_suffix) || !in_code(object, symbol)) continue;
    if (found != NULL)
      return diag_fail(diag, STATUS_INPUT, "%s: holds several models (%s, %s), expected one", object->path, found->name,
                       symbol->name);
    found = symbol;
  }
  if (found == NULL)
    return diag_fail(diag, STATUS_INPUT, "%s: is not a compiled model (no global function NAME_describe)", object->path);
  *out_symbol = found;
  return STATUS_OK;
}

/* "NAME_tail" of a symbol table entry of this model, or NULL. */
static const char *own_tail(const struct loaded *loaded, const struct elf_symbol *symbol, const char *infix) {
  size_t length = strlen(loaded->model.name), middle = strlen(infix);
  if (strncmp(symbol->name, loaded->model.name, length) != 0 || strncmp(symbol->name + length, infix, middle) != 0) return NULL;
  return symbol->name + length + middle;
}

/* The CPU level that a symbol is the run function of, or NULL. NAME_run_args, with the same signature, picks one itself;
 * NAME_run_profiled and NAME_run_profiled_LEVEL have another one. */
static const char *level_of(const struct loaded *loaded, const struct elf_symbol *symbol) {
  const char *level = symbol->global && in_code(&loaded->object, symbol) ? own_tail(loaded, symbol, "_run_") : NULL;
  return level != NULL && strcmp(level, "args") != 0 && strncmp(level, profiled, strlen(profiled)) != 0 ? level : NULL;
}

static bool valid_tensors(const vitc_tensor *tensors, uint32_t count) {
  if (count == 0 || count > VITC_IO_MAX) return false;
  for (uint32_t i = 0; i < count; i++) {
    const vitc_tensor *tensor = &tensors[i];
    if (tensor->name == NULL || tensor->rank == 0 || tensor->rank > VITC_RANK_MAX) return false;
    if (tensor->dtype != VITC_F32 && tensor->dtype != VITC_U8) return false;
    size_t bytes = tensor->dtype == VITC_F32 ? sizeof(float) : 1;
    for (uint32_t k = 0; k < tensor->rank; k++) {
      if (tensor->dim[k] <= 0 || bytes > SIZE_MAX / (size_t)tensor->dim[k]) return false;
      bytes *= (size_t)tensor->dim[k];
    }
    if (bytes != tensor->image_bytes) return false;
  }
  return true;
}

static enum status check_model(const struct loaded *loaded, struct diag *diag) {
  const vitc_model *model = &loaded->model;
  if (model->abi_version != VITC_ABI_VERSION || model->name == NULL || model->precision == NULL || model->run == NULL ||
      model->batch_max == 0 || (model->label_count > 0 && model->labels == NULL) ||
      !valid_tensors(model->inputs, model->input_count) || !valid_tensors(model->outputs, model->output_count))
    return diag_fail(diag, STATUS_INPUT, "%s: its description of the model is malformed", loaded->object.path);
  return STATUS_OK;
}

static enum status describe(struct loaded *loaded, struct diag *diag) {
  const struct elf_symbol *symbol = NULL;
  TRY(find_describe(&loaded->object, &symbol, diag));
  int (*function)(vitc_model *, uint32_t);
  uint8_t *address = image_symbol(&loaded->object, symbol);
  memcpy(&function, &address, sizeof function); /* ISO C has no cast from object to function pointers */
  int error = function(&loaded->model, VITC_ABI_VERSION);
  if (error == VITC_E_ABI)
    return diag_fail(diag, STATUS_INPUT, "%s: was compiled for another version of the ABI, expected %u; compile it again",
                     loaded->object.path, VITC_ABI_VERSION);
  if (error != VITC_OK)
    return diag_fail(diag, STATUS_INPUT, "%s: %s failed with error %d", loaded->object.path, symbol->name, error);
  TRY(check_model(loaded, diag));
  for (uint32_t i = 1; i < loaded->object.symbol_count && loaded->model.weights_external == 0; i++) {
    symbol = &loaded->object.symbols[i];
    const char *tail = own_tail(loaded, symbol, "_weights");
    if (tail == NULL || tail[0] != '\0' || symbol->section == ELF_ABSOLUTE) continue;
    if (loaded->object.sections[symbol->section].size - symbol->value >= loaded->model.weights_bytes)
      loaded->weights = image_symbol(&loaded->object, symbol);
  }
  return STATUS_OK;
}

static enum status load(const char *path, struct loaded *loaded, struct diag *diag) {
  TRY(elf_open(path, &loaded->arena, &loaded->object, diag));
#if !defined(__x86_64__)
  return diag_fail(diag, STATUS_SYSTEM, "%s: is an x86-64 object, which this machine cannot run", path);
#endif
  TRY(image_map(&loaded->object, &loaded->arena, &loaded->image, diag));
  return describe(loaded, diag);
}

enum status load_object(const char *path, struct loaded *out, struct diag *diag) {
  *out = (struct loaded){.weights = NULL};
  arena_init(&out->arena);
  enum status status = load(path, out, diag);
  if (status != STATUS_OK) load_close(out);
  return status;
}

void load_close(struct loaded *loaded) {
  image_unmap(&loaded->image);
  elf_close(&loaded->object);
  arena_deinit(&loaded->arena);
  *loaded = (struct loaded){.weights = NULL};
}

const char *load_level_at(const struct loaded *loaded, int index) {
  for (uint32_t i = 1; i < loaded->object.symbol_count; i++) {
    const char *level = level_of(loaded, &loaded->object.symbols[i]);
    if (level != NULL && index-- == 0) return level;
  }
  return NULL;
}

enum status load_level(const struct loaded *loaded, const char *level, load_run *out_run, struct diag *diag) {
  char levels[256] = "";
  for (uint32_t i = 1; i < loaded->object.symbol_count; i++) {
    const struct elf_symbol *symbol = &loaded->object.symbols[i];
    const char *tail = level_of(loaded, symbol);
    if (tail == NULL) continue;
    if (strcmp(tail, level) == 0) {
      uint8_t *address = image_symbol(&loaded->object, symbol);
      memcpy(out_run, &address, sizeof *out_run);
      return STATUS_OK;
    }
    size_t used = strlen(levels);
    snprintf(levels + used, sizeof levels - used, "%s%s", used > 0 ? ", " : "", tail);
  }
  return diag_fail(diag, STATUS_USAGE, "%s: has no CPU level %s, it has %s", loaded->object.path, level,
                   levels[0] != '\0' ? levels : "none of its own");
}

load_run_profiled load_profiled(const struct loaded *loaded, const char *level) {
  char infix[80];
  snprintf(infix, sizeof infix, "_run_%s%s%.60s", profiled, level != NULL ? "_" : "", level != NULL ? level : "");
  load_run_profiled run = NULL;
  for (uint32_t i = 1; i < loaded->object.symbol_count && run == NULL; i++) {
    const struct elf_symbol *symbol = &loaded->object.symbols[i];
    const char *tail = symbol->global && in_code(&loaded->object, symbol) ? own_tail(loaded, symbol, infix) : NULL;
    if (tail == NULL || tail[0] != '\0') continue;
    uint8_t *address = image_symbol(&loaded->object, symbol);
    memcpy(&run, &address, sizeof run);
  }
  return run;
}

enum status load_check_weights(const struct loaded *loaded, struct diag *diag) {
  if (loaded->weights == NULL) return STATUS_OK;
  uint64_t hash = 0xcbf29ce484222325u;
  const uint8_t *bytes = loaded->weights;
  for (uint64_t i = 0; i + sizeof(uint64_t) <= loaded->model.weights_bytes; i += sizeof(uint64_t)) {
    uint64_t word;
    memcpy(&word, bytes + i, sizeof word);
    hash = (hash ^ word) * 0x100000001b3u;
  }
  if (hash != loaded->model.weights_hash)
    return diag_fail(diag, STATUS_INPUT, "%s: the weights are corrupt (hash %016" PRIx64 ", expected %016" PRIx64 ")",
                     loaded->object.path, hash, loaded->model.weights_hash);
  return STATUS_OK;
}
