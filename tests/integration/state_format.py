"""Rewrites what a task directory says about its format, as a release before or after this one would have written it. The
store byte 0 has the meta rows; `format` is the word tally, the number of the format and the evolve_version, as big-endian
32-bit numbers. By librocksdb itself: a file that was changed by hand fails its checksum. Nobody has the directory open."""
import ctypes
import pathlib
import struct

KEY = b"\0format"
ROW = struct.Struct(">5sII")
_rocksdb = None


def library():
    global _rocksdb
    if _rocksdb is None:
        _rocksdb = ctypes.CDLL("librocksdb.so.7.8")
        for name in ("options_create", "open", "get", "readoptions_create", "sstfilewriter_create", "envoptions_create",
                     "ingestexternalfileoptions_create"):
            getattr(_rocksdb, f"rocksdb_{name}").restype = ctypes.c_void_p
    return _rocksdb


def _call(name, *arguments):
    """Pointers go as they are; the last argument of these functions takes a message."""
    error = ctypes.c_char_p()
    wrapped = [ctypes.c_void_p(a) if isinstance(a, int) and a > 1 << 32 else a for a in arguments]
    result = getattr(library(), f"rocksdb_{name}")(*wrapped, ctypes.byref(error))
    if error.value:
        raise OSError(f"rocksdb_{name}: {error.value.decode()}")
    return result


def rewrite(directory, change):
    """change(magic, format, evolve_version) -> what stands there from now on. Returns what stood there."""
    rocksdb = library()
    options = ctypes.c_void_p(rocksdb.rocksdb_options_create())
    rocksdb.rocksdb_options_set_disable_auto_compactions(options, 1)
    db = ctypes.c_void_p(_call("open", options, str(directory).encode()))
    try:
        length = ctypes.c_size_t()
        read = ctypes.c_void_p(rocksdb.rocksdb_readoptions_create())
        value = _call("get", db, read, KEY, ctypes.c_size_t(len(KEY)), ctypes.byref(length))
        before = ROW.unpack(ctypes.string_at(value, length.value))
        row = ROW.pack(*change(*before))
        file = str(pathlib.Path(directory) / "ingest" / "format.sst").encode()
        writer = ctypes.c_void_p(rocksdb.rocksdb_sstfilewriter_create(
            ctypes.c_void_p(rocksdb.rocksdb_envoptions_create()), options))
        _call("sstfilewriter_open", writer, file)
        _call("sstfilewriter_put", writer, KEY, ctypes.c_size_t(len(KEY)), row, ctypes.c_size_t(len(row)))
        _call("sstfilewriter_finish", writer)
        rocksdb.rocksdb_sstfilewriter_destroy(writer)
        ingest = ctypes.c_void_p(rocksdb.rocksdb_ingestexternalfileoptions_create())
        rocksdb.rocksdb_ingestexternalfileoptions_set_move_files(ingest, 1)
        files = (ctypes.c_char_p * 1)(file)
        _call("ingest_external_file", db, files, ctypes.c_size_t(1), ingest)
    finally:
        rocksdb.rocksdb_close(db)
    return before
