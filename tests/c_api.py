"""Runs a signature of a SavedModel through TensorFlow's C API, as servers in other languages do: no Python TensorFlow.

    python c_api.py LIBRARIES MODEL INPUT OUTPUT[,OUTPUT..] PICTURE...

LIBRARIES is the folder of libtensorflow_cc.so.2 and libtensorflow_framework.so.2 (that of the package tensorflow),
MODEL the SavedModel; INPUT and the OUTPUTs are names of tensors ("name:0"), PICTUREs are files to send. Prints a line
of JSON for each output, all its numbers, and one with the modules of TensorFlow that Python has loaded: none.
"""

import ctypes
import json
import sys
from pathlib import Path

FLOAT, STRING = 1, 7  # of the C API's types
TSTRING = 24  # bytes of its strings


class Output(ctypes.Structure):
    """TF_Output."""

    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


def _function(library, name, result, *arguments):
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function


def main():
    folder, model, source, outputs, *files = sys.argv[1:]
    ctypes.CDLL(str(Path(folder, "libtensorflow_framework.so.2")), ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(str(Path(folder, "libtensorflow_cc.so.2")), ctypes.RTLD_GLOBAL)
    pointer, text, number, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t
    sizes = ctypes.POINTER(ctypes.c_int64)
    status = _function(library, "TF_NewStatus", pointer)()

    def check():
        if _function(library, "TF_GetCode", number, pointer)(status):
            sys.exit(_function(library, "TF_Message", text, pointer)(status).decode())

    graph = _function(library, "TF_NewGraph", pointer)()
    options = _function(library, "TF_NewSessionOptions", pointer)()
    load = _function(
        library, "TF_LoadSessionFromSavedModel", pointer,
        pointer, pointer, text, ctypes.POINTER(text), number, pointer, pointer, pointer,
    )  # fmt: skip
    session = load(options, None, model.encode(), (text * 1)(b"serve"), 1, graph, None, status)
    check()

    def tensor_of(name):
        operation, index = name.split(":")
        found = _function(library, "TF_GraphOperationByName", pointer, pointer, text)(graph, operation.encode())
        return Output(found, int(index)) if found else sys.exit(f"no operation {operation}")

    allocate = _function(library, "TF_AllocateTensor", pointer, number, sizes, number, size)
    data_of = _function(library, "TF_TensorData", pointer, pointer)
    given = allocate(STRING, (ctypes.c_int64 * 1)(len(files)), 1, TSTRING * len(files))
    for row, path in enumerate(files):
        place, content = data_of(given) + TSTRING * row, Path(path).read_bytes()
        _function(library, "TF_StringInit", None, pointer)(place)
        _function(library, "TF_StringCopy", None, pointer, text, size)(place, content, len(content))

    names = outputs.split(",")
    wanted, results = (Output * len(names))(*map(tensor_of, names)), (pointer * len(names))()
    run = _function(
        library, "TF_SessionRun", None,
        pointer, pointer, pointer, pointer, number, pointer, pointer, number, pointer, number, pointer, pointer,
    )  # fmt: skip
    run(
        session, None, (Output * 1)(tensor_of(source)), (pointer * 1)(given), 1,
        wanted, results, len(names), None, 0, None, status,
    )  # fmt: skip
    check()
    for result in results:
        count = _function(library, "TF_TensorByteSize", size, pointer)(result) // 4
        if _function(library, "TF_TensorType", number, pointer)(result) != FLOAT:
            sys.exit("an output is not float32")
        print(json.dumps(list((ctypes.c_float * count).from_address(data_of(result)))))
    loaded = [name for name in sys.modules if name.partition(".")[0] in ("tensorflow", "keras")]
    print(json.dumps(loaded))


if __name__ == "__main__":
    main()
