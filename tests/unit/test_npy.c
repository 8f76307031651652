/* .npy files: NumPy's own, hand-made ones of each version, broken ones, and what is written. */
#include "base/npy.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/test-npy-XXXXXX";
static char path[64];

static void make_folder(void) {
  cr_assert(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/x.npy", folder);
}

static void remove_folder(void) {
  unlink(path);
  cr_assert(rmdir(folder) == 0);
}

TestSuite(npy, .init = make_folder, .fini = remove_folder);

static void write_bytes(const void *bytes, size_t size) {
  FILE *file = fopen(path, "wb");
  cr_assert(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
}

/* A file of version `major`.0 with this header and `size` bytes of data. */
static void write_file(unsigned char major, const char *header, const void *data, size_t size) {
  unsigned char bytes[1024] = {0x93, 'N', 'U', 'M', 'P', 'Y', major, 0};
  size_t length = strlen(header), start = major == 1 ? 10 : 12;
  bytes[8] = (unsigned char)(length & 255);
  bytes[9] = (unsigned char)(length >> 8);
  memcpy(bytes + start, header, length);
  if (size) memcpy(bytes + start + length, data, size);
  write_bytes(bytes, start + length + size);
}

static void expect_fault(const char *message) {
  struct npy npy;
  struct diag diag = {0};
  char expected[256];
  snprintf(expected, sizeof expected, "%s: %s", path, message);
  cr_expect(npy_open(path, &npy, &diag) == STATUS_INPUT, "accepted, expected: %s", message);
  cr_expect(!strcmp(diag.message, expected), "expected %s\nfound    %s", expected, diag.message);
  npy_close(&npy);
}

/* The first and the last logit as NumPy prints them. */
Test(npy, numpy_wrote_it) {
  struct npy npy;
  struct diag diag = {0};
  cr_assert(npy_open(VITC_SOURCE_DIR "/tests/golden/tiny_vit.logits.npy", &npy, &diag) == STATUS_OK, "%s", diag.message);
  const float *logits = npy.data;
  cr_expect(npy.dtype == NPY_F32 && npy.rank == 2 && npy.dim[0] == 3 && npy.dim[1] == 5 && npy.elements == 15);
  cr_expect(logits[0] == -0.7622675f && logits[14] == -0.040078074f, "%.9g %.9g", (double)logits[0], (double)logits[14]);
  npy_close(&npy);
}

Test(npy, versions_dtypes_and_ranks) {
  static const struct {
    unsigned char major;
    const char *header;
    enum npy_dtype dtype;
    int rank;
    size_t bytes;
  } cases[] = {
      {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", NPY_F32, 2, 24},
      {2, "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }\n", NPY_F64, 1, 24},
      {3, "{'descr': '<i8', 'fortran_order': False, 'shape': (), }\n", NPY_I64, 0, 8},
      {1, "{'shape':(4,5),'fortran_order':False,'descr':'|u1'}", NPY_U8, 2, 20},
      {1, "{\"descr\": \"<i4\", \"fortran_order\": False, \"shape\": (1, 1, 1, 1, 1, 1, 1, 2)}   \n", NPY_I32, 8, 8},
      {1, "{'descr': '|i1', 'fortran_order': False, 'shape': (3,)}", NPY_I8, 1, 3},
      {1, "{'descr': '|b1', 'fortran_order': False, 'shape': (3,)}", NPY_BOOL, 1, 3},
      {1, "{'descr': '<u1', 'fortran_order': False, 'shape': (3,)}", NPY_U8, 1, 3},
      {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 7)}", NPY_F32, 2, 0},
  };
  unsigned char data[32];
  for (unsigned char i = 0; i < sizeof data; i++) data[i] = (unsigned char)(i * 7);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct npy npy;
    struct diag diag = {0};
    write_file(cases[i].major, cases[i].header, data, cases[i].bytes);
    cr_assert(npy_open(path, &npy, &diag) == STATUS_OK, "%s", diag.message);
    cr_expect(npy.dtype == cases[i].dtype && npy.rank == cases[i].rank, "%s", cases[i].header);
    cr_expect((size_t)npy.elements * npy_dtype_size(npy.dtype) == cases[i].bytes);
    cr_expect((uintptr_t)npy.data % npy_dtype_size(npy.dtype) == 0, "case %zu is misaligned", i);
    cr_expect(cases[i].bytes == 0 || !memcmp(npy.data, data, cases[i].bytes));
    npy_close(&npy);
  }
}

Test(npy, broken_headers) {
  static const struct {
    const char *header, *message;
    size_t bytes;
  } cases[] = {
      {"{'descr': '<f4', 'fortran_order': True, 'shape': (2,)}", "the array is in Fortran order, expected C order", 8},
      {"{'descr': '>f4', 'fortran_order': False, 'shape': (2,)}", "header: descr: '>f4' is big-endian, expected little-endian",
       8},
      {"{'descr': '<f2', 'fortran_order': False, 'shape': (2,)}",
       "header: descr: unknown dtype '<f2', expected <f4, <f8, |u1, |i1, <i4, <i8 or |b1", 4},
      {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", "header: descr: expected a dtype such as '<f4'", 8},
      {"{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}", "header: fortran_order: expected False", 8},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': 2}", "header: shape: expected a tuple", 8},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}", "header: shape: expected a tuple of integers", 8},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1 2)}", "header: shape: expected a tuple of integers", 8},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
       "header: shape: expected a tuple of integers", 8},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,2)}", "more than 8 dimensions", 8},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}",
       "header: shape: more elements than 63 bits can count", 0},
      {"{'descr': '<f8', 'fortran_order': False, 'shape': (2305843009213693953,)}",
       "2305843009213693953 elements of float64, and 8 bytes of data", 8},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "2 elements of float32, and 7 bytes of data", 7},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "2 elements of float32, and 9 bytes of data", 9},
      {"{'descr': '<f4', 'shape': (2,)}", "header: expected the keys descr, fortran_order and shape", 8},
      {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "header: key 'descr' occurs twice", 8},
      {"{'dtype': '<f4', 'fortran_order': False, 'shape': (2,)}", "header: unknown key 'dtype'", 8},
      {"{'descr': '<f4' 'fortran_order': False, 'shape': (2,)}", "header: expected ',' or '}'", 8},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x", "header: expected nothing after '}'", 8},
      {"{'descr", "header: expected a key and ':'", 8},
      {"", "header: expected '{'", 8},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    write_file(1, cases[i].header, "\0\0\0\0\0\0\0\0\0", cases[i].bytes);
    expect_fault(cases[i].message);
  }
}

Test(npy, broken_files) {
  write_bytes("", 0);
  expect_fault("not a .npy file");
  write_bytes("PK\3\4 a zip file", 16);
  expect_fault("not a .npy file");
  write_file(4, "{'descr': '<f4', 'fortran_order': False, 'shape': ()}", "\0\0\0\0", 4);
  expect_fault(".npy version 4.0, expected 1.0, 2.0 or 3.0");
  write_bytes("\x93NUMPY\1\0\377\0{", 11);
  expect_fault("cut short in its header");
  write_bytes("\x93NUMPY\2\0\1\0", 10);
  expect_fault("cut short in its header");
  write_bytes("\x93NUMPY\2\0\377\377\377\377{}", 14);
  expect_fault("a header of 4294967295 bytes, expected at most 65536");
}

Test(npy, written_as_the_format_says) {
  static const float data[6] = {0, 1, -2.5f, 3, 4, 5};
  static const char start[] = "\x93NUMPY\1\0\166\0{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } ";
  struct diag diag = {0};
  cr_assert(npy_write(path, NPY_F32, 2, (const int64_t[]){2, 3}, data, &diag) == STATUS_OK, "%s", diag.message);
  struct span file;
  cr_assert(span_map_file(path, &file, &diag) == STATUS_OK && file.size == 128 + sizeof data);
  cr_expect(!memcmp(file.data, start, sizeof start - 1));
  cr_expect(file.data[127] == '\n' && file.data[126] == ' ' && !memcmp(file.data + 128, data, sizeof data));
  span_unmap(&file);
}

Test(npy, written_shapes_are_read_back) {
  static const int64_t dims[NPY_RANK_MAX] = {1, 2, 1, 3, 1, 1, 1, 2};
  static const int64_t data[12] = {-1, 2, 3, INT64_MIN, INT64_MAX, 6, 7, 8, 9, 10, 11, 12};
  for (int rank = 0; rank <= NPY_RANK_MAX; rank++) {
    struct npy npy;
    struct diag diag = {0};
    cr_assert(npy_write(path, NPY_I64, rank, dims, data, &diag) == STATUS_OK, "%s", diag.message);
    cr_assert(npy_open(path, &npy, &diag) == STATUS_OK, "%s", diag.message);
    cr_expect(npy.dtype == NPY_I64 && npy.rank == rank && !memcmp(npy.dim, dims, (size_t)rank * sizeof *dims));
    cr_expect(!memcmp(npy.data, data, (size_t)npy.elements * sizeof *data));
    npy_close(&npy);
  }
}

Test(npy, a_folder_that_is_not_there) {
  struct diag diag = {0};
  cr_expect(npy_write("/nonexistent/x.npy", NPY_F32, 0, NULL, &(float){0}, &diag) == STATUS_SYSTEM);
  cr_expect(!strncmp(diag.message, "/nonexistent/x.npy: ", 20), "%s", diag.message);
}
