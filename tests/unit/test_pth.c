/* Checkpoints of torch.save: those that torch wrote, in both forms and with every byte broken, and archives and pickles made by
 * hand that lie. The expected tensors are torch's, from tests/reference/make_pth.py; tests/reference/pth.py has many more. */
#include "torch/pth.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GOLDEN VITC_SOURCE_DIR "/tests/golden/"

static char folder[] = "/tmp/test-pth-XXXXXX";
static char path[64];
static struct weights weights;
static struct diag diag;

static void init(void) {
  cr_assert(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/c.pth", folder);
}

static void deinit(void) {
  weights_close(&weights);
  unlink(path);
  cr_assert(rmdir(folder) == 0);
}

TestSuite(pth, .init = init, .fini = deinit);

static enum status reopen(const char *file) {
  weights_close(&weights);
  diag = (struct diag){0};
  return weights_open(file, &weights, &diag);
}

static void write_bytes(const void *bytes, size_t size) {
  FILE *file = fopen(path, "wb");
  cr_assert(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
}

static size_t weight_bytes(const struct weight *weight) {
  return (size_t)shape_elements(&weight->shape) * dtype_size(weight->dtype);
}

static bool is_mapped(const void *data) {
  const uint8_t *at = data, *file = weights.files[0].data;
  return at >= file && at < file + weights.files[0].size;
}

/* ---- what torch wrote */

static void check_golden(const char *file) {
  struct weights wanted;
  struct diag ignored = {0};
  cr_assert(weights_open(GOLDEN "checkpoint.safetensors", &wanted, &ignored) == STATUS_OK, "%s", ignored.message);
  cr_assert(reopen(file) == STATUS_OK, "%s", diag.message);
  cr_expect(weights.count == wanted.count && wanted.count == 15);
  for (size_t i = 0; i < wanted.count && i < weights.count; i++) {
    const struct weight *want = &wanted.tensors[i], *got = &weights.tensors[i];
    cr_expect(!strcmp(got->name, want->name), "%s, expected %s", got->name, want->name);
    cr_expect(got->dtype == want->dtype && shape_equal(&got->shape, &want->shape), "%s: dtype or shape", got->name);
    cr_expect(!memcmp(got->data, want->data, weight_bytes(want)), "%s: elements", got->name);
  }
  weights_close(&wanted);
  cr_expect(is_mapped(weights_find(&weights, "plain")->data) && is_mapped(weights_find(&weights, "half")->data));
  cr_expect(weights_find(&weights, "plain")->data == weights_find(&weights, "tied")->data);
  cr_expect(!is_mapped(weights_find(&weights, "transposed")->data) && !is_mapped(weights_find(&weights, "part")->data));
}

Test(pth, torch_wrote_the_zip_form) {
  check_golden(GOLDEN "checkpoint.pth");
  cr_expect((uintptr_t)weights_find(&weights, "plain")->data % 64 == 0, "torch.save aligns storages");
}

Test(pth, torch_wrote_the_legacy_form) {
  check_golden(GOLDEN "checkpoint_legacy.pth");
}

Test(pth, content_goes_before_the_name) {
  struct span file;
  cr_expect(pth_probe(GOLDEN "checkpoint.pth") && pth_probe(GOLDEN "checkpoint_legacy.pth"));
  cr_expect(!pth_probe(GOLDEN "checkpoint.safetensors") && !pth_probe(GOLDEN "none.pth") && !pth_probe(GOLDEN));
  cr_assert(span_map_file(GOLDEN "checkpoint.safetensors", &file, &diag) == STATUS_OK);
  write_bytes(file.data, file.size);
  span_unmap(&file);
  cr_expect(!pth_probe(path) && reopen(path) == STATUS_OK && weights.count == 15, "%s", diag.message);
  write_bytes("text", 4);
  cr_expect(pth_probe(path) && reopen(path) == STATUS_INPUT);
  cr_expect(strstr(diag.message, "not a checkpoint of torch.save"), "%s", diag.message);
}

static void check_cuts(const char *source) {
  struct span file;
  cr_assert(span_map_file(source, &file, &diag) == STATUS_OK);
  for (size_t size = 0; size < file.size; size += size < 2000 ? 1 : 7) {
    write_bytes(file.data, size);
    cr_assert(reopen(path) == STATUS_INPUT, "%s: %zu bytes of %zu are accepted", source, size, file.size);
    cr_assert(!strncmp(diag.message, path, strlen(path)), "%s", diag.message);
  }
  span_unmap(&file);
}

Test(pth, every_cut) {
  check_cuts(GOLDEN "checkpoint.pth");
  check_cuts(GOLDEN "checkpoint_legacy.pth");
}

/* A changed byte is an error or gives tensors whose bytes can all be read. */
static void check_flips(const char *source) {
  struct span file;
  size_t refused = 0;
  cr_assert(span_map_file(source, &file, &diag) == STATUS_OK);
  uint8_t *copy = malloc(file.size);
  cr_assert(copy);
  memcpy(copy, file.data, file.size);
  for (size_t i = 0; i < file.size; i++) {
    static const uint8_t changes[] = {0xFF, 0x80, 1};
    copy[i] ^= changes[i % 3];
    write_bytes(copy, file.size);
    copy[i] = file.data[i];
    if (reopen(path) != STATUS_OK) {
      cr_assert(diag.status == STATUS_INPUT && !strncmp(diag.message, path, strlen(path)), "%s", diag.message);
      refused++;
      continue;
    }
    unsigned sum = 0;
    for (size_t k = 0; k < weights.count; k++)
      for (size_t b = 0; b < weight_bytes(&weights.tensors[k]); b++) sum += ((const uint8_t *)weights.tensors[k].data)[b];
    cr_assert(sum > 0);
  }
  cr_expect(refused > file.size / 10, "%zu of %zu", refused, file.size);
  free(copy);
  span_unmap(&file);
}

Test(pth, every_byte_changed) {
  check_flips(GOLDEN "checkpoint.pth");
  check_flips(GOLDEN "checkpoint_legacy.pth");
}

/* ---- archives made by hand */

static struct {
  uint8_t bytes[1 << 16];
  size_t size;
} built;

static void put(const void *bytes, size_t size) {
  cr_assert(size <= sizeof built.bytes - built.size);
  if (size) memcpy(built.bytes + built.size, bytes, size);
  built.size += size;
}

static void put_number(uint64_t number, int size) {
  for (int i = 0; i < size; i++) put(&(uint8_t){(uint8_t)(number >> (8 * i))}, 1);
}

struct entry {
  const char *name;
  const void *data;
  size_t size;
  uint32_t method, begin; /* begin: set by build */
};

/* A record's fields from flags to the size of the name, which the two headers share. */
static void put_fields(const struct entry *entry) {
  put_number(0, 2);
  put_number(entry->method, 2);
  put_number(0, 8);
  put_number(entry->size, 4);
  put_number(entry->size, 4);
  put_number(strlen(entry->name), 2);
  put_number(0, 2);
}

static void build(struct entry *entries, size_t count) {
  built.size = 0;
  for (size_t i = 0; i < count; i++) {
    entries[i].begin = (uint32_t)built.size;
    put("PK\3\4\x14", 6);
    put_fields(&entries[i]);
    put(entries[i].name, strlen(entries[i].name));
    put(entries[i].data, entries[i].size);
  }
  size_t begin = built.size;
  for (size_t i = 0; i < count; i++) {
    put("PK\1\2\x14\0\x14", 8);
    put_fields(&entries[i]);
    put_number(0, 8);
    put_number(0, 2);
    put_number(entries[i].begin, 4);
    put(entries[i].name, strlen(entries[i].name));
  }
  size_t size = built.size - begin;
  put("PK\5\6\0\0\0", 8);
  put_number(count, 2);
  put_number(count, 2);
  put_number(size, 4);
  put_number(begin, 4);
  put_number(0, 2);
}

static const float four[] = {1, -2, 3, -4};

/* data.pkl and one storage of four elements. */
static void build_pickle(const void *pickle, size_t size) {
  struct entry entries[] = {{"a/data.pkl", pickle, size, 0, 0}, {"a/data/0", four, sizeof four, 0, 0}};
  build(entries, 2);
}

static void expect_fault(const char *message) {
  char expected[600];
  write_bytes(built.bytes, built.size);
  snprintf(expected, sizeof expected, "%s: %s", path, message);
  cr_expect(reopen(path) == STATUS_INPUT, "accepted, expected: %s", message);
  cr_expect(!strcmp(diag.message, expected), "expected %s\nfound    %s", expected, diag.message);
}

#define STORAGE "((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0000X\3\0\0\0cpuK\4tQ"
#define TENSOR(arguments) "\x80\2}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n" STORAGE arguments "\x89}tRs."

/* offset, sizes, strides */
static const char good[] = TENSOR("K\0K\2K\2\x86K\2K\1\x86");

Test(pth, a_pickle_made_by_hand) {
  build_pickle(good, sizeof good - 1);
  write_bytes(built.bytes, built.size);
  cr_assert(reopen(path) == STATUS_OK, "%s", diag.message);
  const struct weight *weight = weights_find(&weights, "w");
  cr_assert(weight && weight->dtype == DTYPE_F32 && weight->shape.rank == 2);
  cr_expect(is_mapped(weight->data) && !memcmp(weight->data, four, sizeof four));
  static const char transposed[] = TENSOR("K\0K\2K\2\x86K\1K\2\x86");
  build_pickle(transposed, sizeof transposed - 1);
  write_bytes(built.bytes, built.size);
  cr_assert(reopen(path) == STATUS_OK, "%s", diag.message);
  cr_expect(!memcmp(weights_find(&weights, "w")->data, (const float[]){1, 3, -2, -4}, sizeof four));
}

Test(pth, pickles_that_must_not_be_read) {
#define CASE(bytes, message) {bytes, sizeof bytes - 1, message}
#define REFUSED ", which is neither a tensor nor plain data, so it is refused: expected a state dict"
  static const struct {
    const char *pickle;
    size_t size;
    const char *message;
  } cases[] = {
      CASE("\x80\2cposix\nsystem\nX\4\0\0\0true\x85R.", "data.pkl, byte 2: names posix.system" REFUSED),
      CASE("\x80\2cargparse\nNamespace\n)\x81.", "data.pkl, byte 2: names argparse.Namespace" REFUSED),
      CASE("\x80\2cbuiltins\neval\n.", "data.pkl, byte 2: names builtins.eval" REFUSED),
      CASE("\x80\4\x8c\5posix.", "data.pkl, byte 2: opcode 0x8c, which torch.save does not write"),
      CASE("\x80\2iposix\nsystem\n.", "data.pkl, byte 2: opcode 0x69, which torch.save does not write"),
      CASE("\x80\2h\7.", "data.pkl, byte 2: asks for memo 7, where nothing was put"),
      CASE("\x80\2Nr\xff\xff\xff\xff.", "data.pkl, byte 3: more than 1048576 memos"),
      CASE("\x80\2X\xff\xff\xff\x7f.", "data.pkl, byte 2: the pickle ends within an operand of 2147483647 bytes"),
      CASE("\x80\2t.", "data.pkl, byte 2: asks for a mark where none is"),
      CASE("\x80\2(NNN.", "data.pkl, byte 6: stops with 3 values too many"),
      CASE("\x80\2N\x86.", "data.pkl, byte 3: makes a tuple of 2 of fewer values"),
      CASE("\x80\2](Na.", "data.pkl, byte 5: adds items to what is not a list"),
      CASE("\x80\2Na.", "data.pkl, byte 3: adds items to what is not a list"),
      CASE("\x80\2}(Nu.", "data.pkl, byte 5: adds a key without a value to a dict"),
      CASE("\x80\2NNb.", "data.pkl, byte 4: sets attributes of what is not a dict"),
      CASE("\x80\2NQ.", "data.pkl, byte 3: a persistent id that is not (\"storage\", type, key, location, elements)"),
      CASE("\x80\2N.N", "data.pkl has 1 bytes after its end"),
      CASE("(t.", "holds no dict of tensors: expected a state dict"),
      CASE("\x80\2}.", "holds no dict of tensors: expected a state dict"),
      CASE(TENSOR("K\1K\2K\2\x86K\2K\1\x86"), "tensor \"w\": its last element is 4 of a storage of 4"),
      CASE(TENSOR("K\0K\2K\2\x86K\2K\2\x86"), "tensor \"w\": its last element is 4 of a storage of 4"),
      CASE(TENSOR("K\0K\2K\2\x86K\2\x85"), "tensor \"w\": expected to be made of (storage, offset, sizes, strides)"),
      CASE(TENSOR("K\0J\xff\xff\xff\xffK\2\x86K\2K\1\x86"),
           "tensor \"w\": size -1 and stride 2 of dimension 0, expected at least 0"),
      CASE(TENSOR("J\xff\xff\xff\xffK\2K\2\x86K\2K\1\x86"), "tensor \"w\": offset -1"),
      CASE(TENSOR("K\0\x8a\7\0\0\0\0\0\0\1J\0\0\0\1\x86K\0K\0\x86"), "tensor \"w\": more bytes than 64 bits can count"),
      CASE(TENSOR("K\0\x8a\5\0\0\0\0\1\x85K\0\x85"),
           "tensor \"w\": copies of strided tensors take more memory than the file has bytes"),
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    build_pickle(cases[i].pickle, cases[i].size);
    expect_fault(cases[i].message);
  }
}

Test(pth, archives_that_must_not_be_read) {
  struct entry pickle = {"a/data.pkl", good, sizeof good - 1, 0, 0}, data = {"a/data/0", four, sizeof four, 0, 0};
  build((struct entry[]){pickle, data, data}, 3);
  expect_fault("zip: entry \"a/data/0\" occurs twice");
  data.method = 8;
  build((struct entry[]){pickle, data}, 2);
  expect_fault("zip: entry \"a/data/0\" is compressed (method 8), expected it stored, as torch.save does");
  data.method = 0;
  data.size = 12;
  build((struct entry[]){pickle, data}, 2);
  expect_fault("storage \"0\" has 12 bytes, expected 4 elements of float32");
  build(&pickle, 1);
  expect_fault("no entry data/0, a storage that the pickle names");
  build(&data, 1);
  expect_fault("no data.pkl in the archive: not of torch.save");
  build((struct entry[]){pickle, {"a/byteorder", "big", 3, 0, 0}, data}, 3);
  expect_fault("byteorder is not \"little\": not supported");
  build((struct entry[]){pickle, {"b/data.pkl", good, sizeof good - 1, 0, 0}}, 2);
  expect_fault("two pickles, in two folders of the archive");
}

/* The sizes of the first entry grow over the second one in both headers. */
Test(pth, entries_that_overlap) {
  struct entry entries[] = {{"a/data/0", four, sizeof four, 0, 0}, {"a/data.pkl", good, sizeof good - 1, 0, 0}};
  build(entries, 2);
  size_t record = built.size - 22 - 46 - strlen(entries[1].name) - 46 - strlen(entries[0].name);
  built.bytes[18] = built.bytes[22] = built.bytes[record + 20] = built.bytes[record + 24] = 17;
  expect_fault("zip: entries \"a/data/0\" and \"a/data.pkl\" overlap");
  built.bytes[record + 24] = 16;
  expect_fault("zip: entry \"a/data/0\" is stored, but has two sizes, 17 and 16");
  built.bytes[record + 20] = 16;
  expect_fault("zip: entry \"a/data/0\": the header at byte 0 has another size");
  built.bytes[20] = built.bytes[24] = built.bytes[record + 22] = built.bytes[record + 26] = 255;
  built.bytes[record + 20] = built.bytes[record + 24] = 17;
  char message[128];
  snprintf(message, sizeof message, "zip: entry \"a/data/0\": 16711697 bytes, but %zu are left in the file",
           record - 30 - strlen(entries[0].name));
  expect_fault(message);
}

/* The legacy form, which needs no directory: `size` bytes of pickled objects, and no storages. */
static void write_legacy(const uint8_t *pickle, size_t size) {
  static const char head[] = "\x80\2\x8a\12\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\2M\xe9\3.\x80\2}.",
                    keys[] = "\x80\2].";
  FILE *file = fopen(path, "wb");
  cr_assert(file && fwrite(head, 1, sizeof head - 1, file) == sizeof head - 1);
  cr_assert(fwrite(pickle, 1, size, file) == size && fwrite(keys, 1, sizeof keys - 1, file) == sizeof keys - 1);
  cr_assert(fclose(file) == 0);
}

/* Tuples in tuples, and marks: no recursion, and a bound on memory. */
Test(pth, deep_and_many) {
  static const struct {
    int op;
    size_t count;
    const char *message;
  } cases[] = {{0x85, 9000000, "the pickled objects take more than 32 MiB of memory"},
               {'(', 9000000, "object pickle, byte 1048579: more than 1048576 marks"},
               {0x85, 300000, "holds no dict of tensors: expected a state dict"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char expected[200];
    size_t size = cases[i].count + 4;
    uint8_t *pickle = malloc(size);
    cr_assert(pickle);
    memset(pickle, cases[i].op, size);
    memcpy(pickle, "\x80\2N", 3);
    pickle[size - 1] = '.';
    write_legacy(pickle, size);
    free(pickle);
    snprintf(expected, sizeof expected, "%s: %s", path, cases[i].message);
    cr_expect(reopen(path) == STATUS_INPUT);
    cr_expect(!strcmp(diag.message, expected), "expected %s\nfound    %s", expected, diag.message);
  }
}
