#include "onnx/importer.h"

#include <math.h>
#include <string.h>

enum { TYPE_FLOAT = 1, TYPE_INT = 2, TYPE_STRING = 3, TYPE_FLOATS = 6, TYPE_INTS = 7 };

const OnnxSubset__Attribute *attribute_find(const struct importer *im, const char *name) {
  for (size_t i = 0; i < im->node->n_attribute; i++) {
    const OnnxSubset__Attribute *attribute = im->node->attribute[i];
    if (attribute->name != NULL && strcmp(attribute->name, name) == 0) return attribute;
  }
  return NULL;
}

static enum status check_type(struct importer *im, const OnnxSubset__Attribute *attribute, int type, const char *expected) {
  if (attribute->type == type) return STATUS_OK;
  return importer_fail(im, "attribute '%.64s': expected %s", attribute->name, expected);
}

enum status attribute_int(struct importer *im, const char *name, int64_t otherwise, int64_t *out) {
  const OnnxSubset__Attribute *attribute = attribute_find(im, name);
  *out = attribute != NULL ? attribute->i : otherwise;
  return attribute != NULL ? check_type(im, attribute, TYPE_INT, "an integer") : STATUS_OK;
}

enum status attribute_float(struct importer *im, const char *name, double otherwise, double *out) {
  const OnnxSubset__Attribute *attribute = attribute_find(im, name);
  *out = attribute != NULL ? (double)attribute->f : otherwise;
  if (!isfinite(*out)) return importer_fail(im, "attribute '%s' is not a finite number", name);
  return attribute != NULL ? check_type(im, attribute, TYPE_FLOAT, "a number") : STATUS_OK;
}

static const char *text_of(const struct importer *im, const OnnxSubset__Attribute *attribute) {
  return arena_strndup(im->arena, (const char *)attribute->s.data, attribute->s.len);
}

enum status attribute_string(struct importer *im, const char *name, const char *otherwise, const char **out) {
  const OnnxSubset__Attribute *attribute = attribute_find(im, name);
  *out = otherwise;
  if (attribute == NULL) return STATUS_OK;
  TRY(check_type(im, attribute, TYPE_STRING, "a string"));
  *out = text_of(im, attribute);
  return STATUS_OK;
}

static bool listed(const char *const *list, const char *name) {
  for (size_t i = 0; list != NULL && list[i] != NULL; i++)
    if (strcmp(list[i], name) == 0) return true;
  return false;
}

static enum status unknown(struct importer *im, const char *name) {
  return importer_fail(im, "attribute '%.64s' is not supported", name != NULL ? name : "");
}

enum status attributes_check(struct importer *im, const char *const *read) {
  for (size_t i = 0; i < im->node->n_attribute; i++) {
    const char *name = im->node->attribute[i]->name;
    if (name == NULL || !listed(read, name)) return unknown(im, name);
  }
  return STATUS_OK;
}

static enum status copy(struct importer *im, struct node *node, const struct attr_spec *spec,
                        const OnnxSubset__Attribute *attribute) {
  struct graph *graph = im->graph;
  double *floats;
  switch (spec->kind) {
  case ATTR_INT:
    TRY(check_type(im, attribute, TYPE_INT, "an integer"));
    node_set_int(graph, node, spec->name, attribute->i);
    return STATUS_OK;
  case ATTR_FLOAT:
    TRY(check_type(im, attribute, TYPE_FLOAT, "a number"));
    if (!isfinite(attribute->f)) return importer_fail(im, "attribute '%s' is not a finite number", spec->name);
    node_set_float(graph, node, spec->name, (double)attribute->f);
    return STATUS_OK;
  case ATTR_INTS:
    TRY(check_type(im, attribute, TYPE_INTS, "a list of integers"));
    node_set_ints(graph, node, spec->name, attribute->ints, attribute->n_ints);
    return STATUS_OK;
  case ATTR_FLOATS:
    TRY(check_type(im, attribute, TYPE_FLOATS, "a list of numbers"));
    floats = arena_array(im->arena, attribute->n_floats, sizeof *floats);
    for (size_t i = 0; i < attribute->n_floats; i++) floats[i] = (double)attribute->floats[i];
    node_set_floats(graph, node, spec->name, floats, attribute->n_floats);
    return STATUS_OK;
  case ATTR_STRING:
    TRY(check_type(im, attribute, TYPE_STRING, "a string"));
    node_set_string(graph, node, spec->name, text_of(im, attribute));
    return STATUS_OK;
  }
  return STATUS_OK;
}

enum status attributes_copy(struct importer *im, struct node *node, const char *const *read) {
  for (size_t i = 0; i < im->node->n_attribute; i++) {
    const OnnxSubset__Attribute *attribute = im->node->attribute[i];
    const char *name = attribute->name;
    if (name != NULL && listed(read, name)) continue;
    const struct attr_spec *spec = op_info(node->op)->attrs;
    while (name != NULL && spec->name != NULL && strcmp(spec->name, name) != 0) spec++;
    if (name == NULL || spec->name == NULL) return unknown(im, name);
    TRY(copy(im, node, spec, attribute));
  }
  return STATUS_OK;
}
