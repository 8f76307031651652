/* Opcodes of pickles as Python's pickletools names them: those of the first protocols that torch.save writes, and no other. */
#ifndef VITC_FRONTENDS_TORCH_OPCODES_H
#define VITC_FRONTENDS_TORCH_OPCODES_H

enum opcode {
  PICKLE_MARK = '(',
  PICKLE_STOP = '.',
  PICKLE_BINFLOAT = 'G',
  PICKLE_BININT = 'J',
  PICKLE_BININT1 = 'K',
  PICKLE_BININT2 = 'M',
  PICKLE_NONE = 'N',
  PICKLE_BINPERSID = 'Q',
  PICKLE_REDUCE = 'R',
  PICKLE_SHORT_BINSTRING = 'U',
  PICKLE_BINUNICODE = 'X',
  PICKLE_EMPTY_LIST = ']',
  PICKLE_APPEND = 'a',
  PICKLE_BUILD = 'b',
  PICKLE_GLOBAL = 'c',
  PICKLE_APPENDS = 'e',
  PICKLE_BINGET = 'h',
  PICKLE_LONG_BINGET = 'j',
  PICKLE_BINPUT = 'q',
  PICKLE_LONG_BINPUT = 'r',
  PICKLE_SETITEM = 's',
  PICKLE_TUPLE = 't',
  PICKLE_SETITEMS = 'u',
  PICKLE_EMPTY_DICT = '}',
  PICKLE_EMPTY_TUPLE = ')',
  PICKLE_PROTO = 0x80,
  PICKLE_NEWOBJ = 0x81,
  PICKLE_TUPLE1 = 0x85,
  PICKLE_TUPLE2 = 0x86,
  PICKLE_TUPLE3 = 0x87,
  PICKLE_NEWTRUE = 0x88,
  PICKLE_NEWFALSE = 0x89,
  PICKLE_LONG1 = 0x8a,
  PICKLE_EMPTY_SET = 0x8f,
};

#endif
